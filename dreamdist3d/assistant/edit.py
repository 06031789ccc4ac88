"""An edit: everything that makes one proposal again, as a value; and how changes lead from one to the next."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from dreamdist3d.assistant.intentions import ANY, NUMBERS, VALUES, Change, Seen
from dreamdist3d.mini.families import FAMILIES

_GAMMA = {"wider": 1.5, "closer": 0.5}  # factors
_GAMMA_RANGE = (0.25, 3.0)
_MIXED = {"first": (0.75, 0.25), "second": (0.25, 0.75), "equal": (0.5, 0.5)}
_WORDS = ("color", "part", "pattern", "second", "material", "shape", "background")
_NEXT = 101  # between the seeds of one picture and of another of the same


@dataclass(frozen=True)
class Edit:
    """What a proposal is made of.

    Args:
        asked: attributes that were asked for, by kind (`intentions.VALUES`).
        prefix, suffix: the words before and after the subject; None: a distribution's own.
        gamma: of a distribution's draw.
        weights: of a blend's components; None: its own.
        references: which of the pictures given it is about, from 0; empty: a distribution.
        draw_seed: of the distribution's draw.
        noise_seed: of the picture's initial noise.
        pictured: whether the UNet sees the picture given, through the generator; else words say all of it.
    """

    asked: dict[str, str] = field(default_factory=dict)
    prefix: str | None = None
    suffix: str | None = None
    gamma: float = 1.0
    weights: tuple[float, ...] | None = None
    references: tuple[int, ...] = ()
    draw_seed: int = 0
    noise_seed: int = 0
    pictured: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def changed(self, changes: Sequence[Change]) -> "Edit":
        """The edit after changes of attributes, spread, draws, mixture and reference; `pick` and `undo` change none."""
        edit = self
        for change in changes:
            edit = edit._after(change)
        return edit

    def redrawn(self, times: int = 1) -> "Edit":
        """Another draw of the same, and another after it."""
        by = times * _NEXT
        return replace(self, draw_seed=self.draw_seed + by, noise_seed=self.noise_seed + by)

    def _after(self, change: Change) -> "Edit":
        kind, value = change.kind, change.value
        if kind in _WORDS:
            asked = self.asked | {kind: value}
            if kind == "pattern" and value == "plain":
                asked.pop("second", None)
            return replace(self, asked=asked)
        if kind == "spread":
            low, high = _GAMMA_RANGE
            return replace(self, gamma=min(high, max(low, self.gamma * _GAMMA[value])))
        if kind == "again":
            return self.redrawn()
        if kind == "mix":
            return replace(self, weights=_MIXED[value])
        if kind == "reference":
            return replace(self, references=(NUMBERS.index(value),))
        return self


def resolved(changes: Sequence[Change], seen: Seen | None, rng: np.random.Generator) -> tuple[Change, ...]:
    """The changes with a drawn value in the place of every `any`, other than what is there."""
    found = []
    for change in changes:
        if change.value == ANY:
            now = getattr(seen, change.kind, "")
            values = [value for value in VALUES[change.kind] if value not in (ANY, now, "plain", "matt")]
            change = Change(change.kind, values[int(rng.integers(len(values)))])
        found.append(change)
    return tuple(found)


def words_before(asked: dict[str, str]) -> str:
    """`a tall glossy striped red and white`, as the miniature's captions have it; empty where nothing is asked."""
    color = asked.get("color", "")
    second = asked.get("second", "")
    if second:
        color = f"{color} and {second}" if color else second
    pattern = asked.get("pattern", "")
    parts = (asked.get("shape", ""), asked.get("material", ""), pattern, color)
    text = " ".join(part for part in parts if part)
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}" if text else ""


def words_after(asked: dict[str, str], family: str) -> str:
    """`with a white stem, gradient background`; empty where nothing is asked."""
    said = ""
    if asked.get("part") and family in FAMILIES:
        kind = FAMILIES[family]
        color = asked["part"]
        article = "" if kind.part_is_plural else ("an " if color[0] in "aeiou" else "a ")
        said = f"with {article}{color} {kind.part}"
    background = asked.get("background", "plain")
    return said if background == "plain" else f"{said}, {background} background"


def all_asked(seen: Seen, asked: dict[str, str]) -> dict[str, str]:
    """What a picture shows and what of it is to change, as one set of words: the caption of a picture's edit."""
    now = seen.after([Change(kind, value) for kind, value in asked.items()])
    whole = {
        "color": now.color,
        "second": now.second,
        "pattern": "" if now.pattern == "plain" else now.pattern,
        "material": "" if now.material == "matt" else now.material,
        "shape": now.shape,
        "part": now.part_color,
        "background": asked.get("background", "plain"),
    }
    return {kind: value for kind, value in whole.items() if value}
