"""What a baseline can be told, and what each method makes of it."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from dreamdist3d.choices import BaselineMethod
from dreamdist3d.errors import UserError
from dreamdist3d.prompts.learning.settings import MINIATURE_SIZE

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

METHODS: tuple[str, ...] = get_args(BaselineMethod)
TUNED = ("dreambooth", "dreambooth-lora", "custom-diffusion")  # methods that change the diffusion model

_LEARNED = {"steps", "batch", "lr", "seed"}
_PRIOR = {"words", "prior", "prior_weight"}
USED: dict[str, set[str]] = {
    "textual-inversion": _LEARNED | {"tokens"},
    "textual-inversion-noise": _LEARNED | {"tokens", "noise", "copies"},
    "textual-inversion-each": _LEARNED | {"tokens"},
    "dreambooth": _LEARNED | _PRIOR,
    "dreambooth-lora": _LEARNED | _PRIOR | {"rank"},
    "custom-diffusion": _LEARNED | _PRIOR,
    "ip-adapter": {"words", "apprentice"},
    "words": {"words"},
}
"""The settings that a method has a use for."""


@dataclass(frozen=True)
class BaselineConfig:
    """How a baseline is made; `preset` gives what a method starts from.

    Args:
        method: one of `METHODS`.
        words: of `words`, prompts to draw from; of `ip-adapter`, the one prompt; of methods that change the model, the
            class of the pictures, such as "mushroom".
        batch: pictures a step, and as many class pictures; of one inversion for each reference, of each.
        prior: class pictures that keep the model from forgetting the class (DreamBooth, section 3.2).
        prior_weight: of their loss.
        rank: of the LoRA factors.
        noise: on the tokens, in their own standard deviation.
        copies: of the disturbed prompt, that are drawn from.
        apprentice: file of what shows pictures to the UNet; empty for the one that ships.

    Raises:
        UserError: a value out of its range, by name, or words that are missing.
    """

    method: BaselineMethod
    words: tuple[str, ...] = ()
    steps: int = 1000
    batch: int = 16
    lr: float = 1e-3
    seed: int = 0
    tokens: int = 4
    rank: int = 8
    prior: int = 100
    prior_weight: float = 1.0
    noise: float = 0.5
    copies: int = 256
    apprentice: str = ""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"there is no baseline {self.method!r}: choose one of {', '.join(METHODS)}.")
        for name in ("steps", "batch", "tokens", "rank"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("seed", self.seed >= 0, "at least 0")
        self._require("copies", self.copies >= 2, "at least 2")
        self._require("prior", self.prior >= 0, "at least 0, for none")
        self._require("lr", math.isfinite(self.lr) and self.lr > 0, "a finite number above 0")
        for name in ("noise", "prior_weight"):
            value = getattr(self, name)
            self._require(name, math.isfinite(value) and value >= 0, "a finite number of at least 0")
        self._check_words()

    def _check_words(self) -> None:
        if not all(words.strip() for words in self.words):
            raise UserError("words are empty: leave them out, or say what the pictures show.")
        if self.method == "words" and not self.words:
            raise UserError('the baseline words needs them: --words "a mushroom", or several prompts to draw from.')
        if self.method == "ip-adapter" and len(self.words) != 1:
            raise UserError(f'ip-adapter needs one prompt: --words "a mushroom" ({len(self.words)} were given).')
        if self.method in TUNED and len(self.words) != 1:
            raise UserError(
                f"{self.method} needs the class of the pictures, once: --words mushroom ({len(self.words)} were given)."
            )

    def _require(self, name: str, holds: bool, what: str) -> None:
        if not holds:
            raise UserError(f"{name}={getattr(self, name)} is out of range: it must be {what}.")


def preset(backbone: "Backbone", method: BaselineMethod, **chosen: Any) -> BaselineConfig:
    """What a method starts from on this backbone, with what is chosen in its place.

    At full size steps and learning rates are those of the methods' published code (for Stable Diffusion, one picture a
    step where they say so); the miniature's are faster, as its learning is, and were not searched for.

    Raises:
        UserError: as `BaselineConfig`; or a setting that the method has no use for.
    """
    if method in USED and (idle := sorted(chosen.keys() - USED[method])):
        users = [name for name, used in USED.items() if idle[0] in used]
        raise UserError(f"{idle[0]} means nothing to {method}: it is for {', '.join(users)}; leave it out.")
    presets = _MINIATURE if backbone.image_size <= MINIATURE_SIZE else _FULL
    return BaselineConfig(method, **(presets.get(method, {}) | chosen))


_FULL: dict[str, dict[str, Any]] = {
    "textual-inversion-each": {"batch": 1},
    "dreambooth": {"steps": 800, "batch": 1, "lr": 5e-6},
    "dreambooth-lora": {"steps": 800, "batch": 1, "lr": 1e-4},
    "custom-diffusion": {"steps": 500, "batch": 2, "lr": 1e-5, "prior": 200},
}
_TOKENS = {"steps": 250, "lr": 5e-3}
_MINIATURE: dict[str, dict[str, Any]] = {
    "textual-inversion": {**_TOKENS, "batch": 32},
    "textual-inversion-noise": {**_TOKENS, "batch": 32},
    "textual-inversion-each": {**_TOKENS, "batch": 2},
    "dreambooth": {"steps": 250, "batch": 8, "lr": 1e-4, "prior": 64},
    "dreambooth-lora": {"steps": 250, "batch": 8, "lr": 1e-3, "prior": 64},
    "custom-diffusion": {"steps": 250, "batch": 8, "lr": 1e-3, "prior": 64},
}
