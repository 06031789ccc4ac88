"""What a picture really shows, by `dreamdist3d.mini.measures`: the assistant's words are held against it.

Measured: the main colour, the colours that appear at all, the pattern, the proportions against another picture, and
whether the background is plain. Not measured: materials, and whatever stands before a background that is not plain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamdist3d.assistant.intentions import Change, Seen
from dreamdist3d.mini.measures import (
    color_name,
    dominant_color,
    foreground,
    pattern_name,
    pattern_signature,
    proportions,
)
from dreamdist3d.mini.palette import COLOR_NAMES, PALETTE

PRESENT = 0.04  # share of an object's pixels that make a colour one of its own
CLEARLY = 0.08  # and that make it a main one
MIRRORED = 0.25  # the same, of metal
_UNEVEN = 0.03  # spread of the border from which a background is not plain
_TALLER = ("tall", "thin", "narrow", "pointed")
_WIDER = ("short", "wide", "fat", "low", "flat", "long")
_MARGIN = 1.02  # of height over width


@dataclass(frozen=True)
class Verdict:
    """A change that was asked for, what is measured of it, and whether that is the same; None: not measured."""

    change: Change
    measured: str = ""
    holds: bool | None = None


def color_shares(picture: Tensor) -> dict[str, float]:
    """The share of the object's pixels [3, H, W] that is nearest to each palette colour, in any light; none is none."""
    mask = foreground(picture)
    pixels = picture[:, mask].t()  # [N, 3]
    if not len(pixels):
        return {}
    entries = torch.tensor(list(PALETTE.values()))
    light = torch.linspace(0.6, 1.1, 11)[:, None, None]
    scaled = (entries[None] * light).flatten(0, 1)  # [11 * 12, 3]
    nearest = torch.cdist(pixels, scaled).argmin(dim=1) % len(entries)
    counts = torch.bincount(nearest, minlength=len(entries)) / len(pixels)
    return {name: float(share) for name, share in zip(COLOR_NAMES, counts, strict=True)}


def shared_colors(picture: Tensor, other: Tensor) -> float:
    """Of all pixels of the object the share that has the same palette colour: 1 for the same shares of all twelve."""
    first, second = color_shares(picture), color_shares(other)
    return sum(min(first.get(name, 0.0), second.get(name, 0.0)) for name in COLOR_NAMES)


def shows_color(picture: Tensor, name: str) -> bool:
    """Whether the object has a colour, of its main part or of any other."""
    return color_shares(picture).get(name, 0.0) >= PRESENT


def main_color(picture: Tensor, family: str) -> str:
    """The palette's word for the main part's colour; empty where nothing stands out."""
    found = dominant_color(picture, family)
    return "" if found is None else color_name(found)


def background_of(picture: Tensor) -> str:
    """`plain`, or `uneven` for a gradient or a texture."""
    border = torch.cat([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], dim=1)
    return "uneven" if float(border.std(dim=1).max()) > _UNEVEN else "plain"


def verdicts(picture: Tensor, changes: Sequence[Change], target: Seen, before: Tensor | None = None) -> list[Verdict]:
    """What holds of the changes that were asked for.

    Args:
        picture: [3, H, W] in [0, 1].
        changes: of attributes; others are not measured.
        target: what the picture should show.
        before: the picture that a change of shape is against.
    """
    plain = background_of(picture) == "plain"
    return [_verdict(picture, change, target, before, plain) for change in changes]


def _verdict(picture: Tensor, change: Change, target: Seen, before: Tensor | None, plain: bool) -> Verdict:
    kind, value = change.kind, change.value
    if kind == "background":
        found = background_of(picture)
        return Verdict(change, found, (found == "plain") == (value == "plain"))
    if not plain:
        return Verdict(change)
    if kind == "color":
        return _color(picture, change, target)
    if kind in ("part", "second"):
        return Verdict(change, value if shows_color(picture, value) else "", shows_color(picture, value))
    if kind == "pattern" and target.material != "metallic":  # reflections count as colours
        found = pattern_name(pattern_signature(picture, target.family))
        return Verdict(change, found, found == value)
    if kind == "shape" and before is not None:
        return _shape(picture, change, before)
    return Verdict(change)


def _color(picture: Tensor, change: Change, target: Seen) -> Verdict:
    """The main part's colour: the fullest one, or, where a pattern's or a part's is fuller, clearly there beside it."""
    found = main_color(picture, target.family)
    share = color_shares(picture).get(change.value, 0.0)
    beside = found in (target.second, target.part_color) and share >= CLEARLY
    # Metal mirrors light and dark, in which most of it may be nearer to another entry.
    mirrored = target.material == "metallic" and share >= MIRRORED
    return Verdict(change, found, found == change.value or beside or mirrored)


def _shape(picture: Tensor, change: Change, before: Tensor) -> Verdict:
    now, then = proportions(picture), proportions(before)
    if now is None or then is None or change.value not in (*_TALLER, *_WIDER):
        return Verdict(change)
    ratio = now / then
    found = "taller" if ratio > _MARGIN else "wider" if ratio < 1 / _MARGIN else "the same"
    return Verdict(change, found, found == ("taller" if change.value in _TALLER else "wider"))


def colors_in(text: str) -> list[str]:
    """The palette's colours that a text names, each once."""
    words = text.replace(",", " ").replace(".", " ").lower().split()
    return [name for name in COLOR_NAMES if name in words]
