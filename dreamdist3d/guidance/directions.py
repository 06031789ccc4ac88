"""View-dependent prompts (DreamFusion, section 3.2): the words change with the direction, the draw's omega does not."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dreamdist3d.lift.cameras import Cameras
from dreamdist3d.prompts import FixedMoments, PromptComposition, PromptDistribution, PromptDraw, PromptSource
from dreamdist3d.prompts.encoder import SoftPromptEncoder

# threestudio's directions, in the order in which its Perp-Neg counts them, and where they begin (degrees).
DIRECTIONS = ("side", "front", "back", "overhead")
_SIDE, _FRONT, _BACK, _OVERHEAD = range(4)
_FROM_FRONT_DEG, _FROM_BACK_DEG, _OVERHEAD_DEG = 45.0, 45.0, 60.0
Words = tuple[str, str]  # in front of a prompt and behind it


def view_words(in_front: bool = False) -> list[Words]:
    """The words of the four directions: ", side view" behind the prompt, or "side view of " in front of it."""
    if in_front:
        return [(f"{'backside' if name == 'back' else name} view of ", "") for name in DIRECTIONS]
    return [("", f", {name} view") for name in DIRECTIONS]


def directions_of(cameras: Cameras) -> Tensor:
    """[B] int64: the index in `DIRECTIONS` of what each camera sees of an object whose front faces azimuth 0."""
    azimuth = ((cameras.azimuth_deg + 180) % 360 - 180).abs()
    found = torch.full_like(azimuth, _SIDE, dtype=torch.long)
    found[azimuth < _FROM_FRONT_DEG] = _FRONT
    found[azimuth > 180 - _FROM_BACK_DEG] = _BACK
    found[cameras.elevation_deg > _OVERHEAD_DEG] = _OVERHEAD
    return found


@torch.no_grad()
def encode_views(source: PromptSource, draw: PromptDraw, encoder: SoftPromptEncoder, words: Sequence[Words]) -> Tensor:
    """The drawn prompt under each pair of words, one omega for all: [len(words), L, D] float32.

    A file that holds moments alone cannot be edited by words; all its directions are the same.

    Raises:
        UserError: a prompt is too long.
    """
    if isinstance(source, FixedMoments):
        return source.embed(draw, encoder).expand(len(words), -1, -1).clone()
    worded = (between(source, draw, *pair) for pair in words)
    return torch.stack([variant.embed(plain, encoder) for variant, plain in worded])


@torch.no_grad()
def check_lengths(source: PromptSource, draw: PromptDraw, encoder: SoftPromptEncoder, words: Sequence[Words]) -> None:
    """Encode one prompt of K under each pair of words, which is enough to know that all fit.

    Raises:
        UserError: a prompt is too long.
    """
    if isinstance(source, FixedMoments):
        return
    for pair in words:
        for component in _components(between(source, draw, *pair)[0], draw):
            encoder.encode(component.tokens[:1], component.prefix, component.suffix)


def between(source: PromptSource, draw: PromptDraw, before: str, after: str) -> tuple[PromptSource, PromptDraw]:
    """`source` with words around its own (or the draw's) prefix and suffix, and the same omega without words."""

    def worded(component: PromptDistribution) -> PromptDistribution:
        prefix = component.prefix if draw.prefix is None else draw.prefix
        suffix = component.suffix if draw.suffix is None else draw.suffix
        return replace(component, prefix=before + prefix, suffix=suffix + after)

    plain = draw.under(prefix=None, suffix=None)
    if isinstance(source, PromptComposition):
        return replace(source, components=tuple(worded(c) for c in source.components)), plain
    return worded(_learned(source)), plain


def _components(source: PromptSource, draw: PromptDraw) -> Sequence[PromptDistribution]:
    """The learned distributions that a draw is made of: all of a blend, one of a mixture."""
    if not isinstance(source, PromptComposition):
        return [_learned(source)]
    return source.components if draw.component is None else [source.components[draw.component]]


def _learned(source: PromptSource) -> PromptDistribution:
    if not isinstance(source, PromptDistribution):
        raise TypeError(f"no words go around a {type(source).__name__}")
    return source
