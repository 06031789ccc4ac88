"""What a synthetic data set can be told, and what follows from it for every picture."""

import math
from dataclasses import dataclass, field
from typing import Any, get_args

import torch

from dreamdist3d.choices import DatasetFormat
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDraw, PromptSource
from dreamdist3d.prompts.draw import SEED_LIMIT
from dreamdist3d.prompts.looks.pictures import Sampling
from dreamdist3d.randomness import generator_for


@dataclass(frozen=True)
class DatasetConfig:
    """How pictures are drawn and kept.

    Args:
        per_class: pictures of each class.
        format: `imagefolder`, images/CLASS/NUMBER.png, or `webdataset`, tar files of all classes mixed.
        gammas, prefixes, suffixes: every picture takes one of each; words stand around a distribution's own.
        guidance, steps, rescale: of sampling.
        shard: pictures in a tar file.
        seed: of everything.
        learn: settings of learning by name, for classes that are pictures.

    Raises:
        UserError: a value out of its range, by name.
    """

    per_class: int = 500
    format: DatasetFormat = "imagefolder"
    gammas: tuple[float, ...] = (0.6, 1.0, 1.4)
    prefixes: tuple[str, ...] = ("",)
    suffixes: tuple[str, ...] = ("",)
    guidance: float = 7.5
    steps: int = 30
    rescale: float = 0.0
    shard: int = 1000
    seed: int = 0
    learn: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format not in get_args(DatasetFormat):
            raise UserError(f"format={self.format!r} is unknown: it is one of {', '.join(get_args(DatasetFormat))}.")
        for name in ("per_class", "shard"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} is out of range: it must be at least 1.")
        for name in ("gammas", "prefixes", "suffixes"):
            if not getattr(self, name):
                raise UserError(f"{name} are empty: give at least one.")
        if bad := [gamma for gamma in self.gammas if not (math.isfinite(gamma) and gamma >= 0)]:
            raise UserError(f"gammas hold {bad[0]}: they must be finite numbers of at least 0 (1 = as learned).")
        if self.seed < 0:
            raise UserError(f"seed={self.seed} is out of range: it must be at least 0.")
        Sampling(self.guidance, self.steps, self.rescale)  # asks the same of its own


@dataclass(frozen=True)
class Planned:
    """One picture, before it is made: what it is a draw of, and where its noise comes from."""

    label: int
    name: str  # of the class
    index: int  # within the class
    draw: PromptDraw

    def as_dict(self) -> dict[str, Any]:
        """What the manifest says of it."""
        draw = self.draw.to_dict()
        words = {"prefix": draw.get("prefix", ""), "suffix": draw.get("suffix", "")}
        return {"class": self.name, "label": self.label, "index": self.index} | words | {
            "draw_seed": draw["seed"],
            "gamma": draw["gamma"],
            "component": draw.get("component", ""),
        }  # fmt: skip


def plan_picture(config: DatasetConfig, label: int, name: str, index: int, source: PromptSource) -> Planned:
    """Picture `index` of a class: from the seed, the class's name and the index alone.

    Raises:
        UserError: the distribution takes no words.
    """
    generator = generator_for(config.seed, f"picture of {name}", index)

    def one_of(values: tuple[Any, ...]) -> Any:
        return values[int(torch.randint(len(values), (), generator=generator))]

    seed = int(torch.randint(SEED_LIMIT, (), generator=generator))
    gamma, prefix, suffix = one_of(config.gammas), one_of(config.prefixes), one_of(config.suffixes)
    draw = source.draw(seed, gamma, _around(prefix, source, "prefix"), _around(suffix, source, "suffix"))
    return Planned(label, name, index, draw)


def noise_seed(config: DatasetConfig, name: str) -> int:
    """Of a class's pictures: classes do not share their noises."""
    return generator_for(config.seed, f"noise of {name}").initial_seed()


def _around(words: str, source: PromptSource, side: str) -> str | None:
    """The stored words with others outside of them; None for the stored ones as they are."""
    stored = getattr(source, side, "")
    parts = (words, stored) if side == "prefix" else (stored, words)
    return " ".join(part for part in parts if part) if words else None
