"""True attributes of pictures of miniature objects: what no published evaluation could measure."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dreamdist3d.mini.families import FAMILIES

if TYPE_CHECKING:
    from dreamdist3d.eval import MiniClip

_FOREGROUND = 0.10  # farthest channel from the background, of 1
_BINS = 6
_NEAR = 0.25


def foreground(picture: Tensor) -> Tensor:
    """Pixels unlike the plain background, judged by the picture's border: bool [H, W] of [3, H, W] in [0, 1]."""
    border = torch.cat([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], dim=1)
    background = border.median(dim=1).values
    return (picture - background[:, None, None]).abs().amax(dim=0) > _FOREGROUND


def dominant_color(picture: Tensor, family: str) -> Tensor | None:
    """RGB [3] of the family's main part: the fullest colour bin in the band of the object where it shows.

    None where nothing stands out from the background.
    """
    mask = foreground(picture)
    rows = torch.nonzero(mask.any(dim=1)).squeeze(1)
    if mask.sum() < 20:
        return None
    top, height = int(rows[0]), int(rows[-1] - rows[0]) + 1
    low, high = FAMILIES[family].main_band
    band = torch.zeros_like(mask)
    band[top + int(low * height) : top + max(1, round(high * height))] = True
    pixels = picture[:, mask & band].t()  # [N, 3]
    if len(pixels) == 0:
        return None
    bins = (pixels * (_BINS - 1)).round().long() @ torch.tensor([1, _BINS, _BINS**2])
    center = pixels[bins == bins.mode().values].mean(dim=0)
    return pixels[(pixels - center).norm(dim=1) < _NEAR].mean(dim=0)


def color_spread(pictures: Tensor, family: str) -> float:
    """Mean pairwise Euclidean distance of the main part's RGB over the pictures [N, 3, H, W]."""
    found = [color for picture in pictures if (color := dominant_color(picture, family)) is not None]
    return float(torch.pdist(torch.stack(found)).mean())


def family_accuracy(pictures: Tensor, family: str, judge: "MiniClip") -> float:
    """Share of the pictures [N, 3, H, W] that the judge calls by their family's name, among all ten."""
    return float(family_hits(pictures, family, judge).float().mean())


def family_hits(pictures: Tensor, family: str, judge: "MiniClip") -> Tensor:
    """Which of the pictures [N, 3, H, W] the judge calls by their family's name: bool [N]."""
    return named(judge.encode(pictures), family_texts(judge), family)


def family_texts(judge: "MiniClip") -> Tensor:
    """What the judge makes of every family's name: [F, D]."""
    return judge.encode_text([f"a{'n' if name[0] in 'aeiou' else ''} {name}" for name in FAMILIES])


def named(features: Tensor, texts: Tensor, family: str) -> Tensor:
    """Which of the judge's features [N, D] lie nearest to the family's name: bool [N]."""
    return (features @ texts.t()).argmax(dim=1) == list(FAMILIES).index(family)
