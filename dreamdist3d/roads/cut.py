"""Objects cut out of pictures: alpha, and colours without what shone through from behind."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from dreamdist3d.choices import CutKind
from dreamdist3d.errors import UserError

_NOISE_SHARE, _NOISES = 0.9, 3.0  # the border's deviation that most of it stays under, and how many of them are object
_CONTRAST = 0.2  # of how far most of the object is from the border's colour: nearer, it is a shade of that
_TOLERANCES = (0.08, 0.13)  # in shares of the pixel range, whatever noise and contrast
PLAIN = 0.06  # a border that deviates more is not of one colour
_FLAT_HOLE = 0.8  # of the tolerance: what lies inside the object and is mostly as near as this is a hole in it
_SPECK = 0.02  # of the object's area: smaller pieces are none of it
_LEAST = 0.003  # of the picture that an object covers
_SURE = 0.25  # alpha from which the colour behind can be told apart from the object's own


@dataclass(frozen=True)
class Cutout:
    """Objects without their backgrounds."""

    rgb: Tensor  # [N, 3, H, W], straight, [0, 1]
    alpha: Tensor  # [N, H, W], [0, 1]
    how: dict[str, int]  # how many pictures were cut by which method


def cut_out(pictures: Tensor, kind: CutKind = "auto") -> Cutout:
    """Remove the backgrounds of pictures [N, 3, H, W] in [0, 1].

    Args:
        pictures: each of one object that does not fill it.
        kind: `plain` takes for background what is like the border and reaches it; `rembg` asks that package's network;
            `auto` asks it where the border is not of one colour, if it is installed.

    Raises:
        UserError: nothing is left of a picture, or rembg is asked for and not there.
    """
    pictures = pictures.float().cpu()
    border, noise = border_of(pictures)
    busy = noise > PLAIN
    wanted = torch.full_like(busy, kind == "rembg") if kind != "auto" else busy & _has_rembg()
    alphas = []
    for picture, color, spread, by_network in zip(pictures, border, noise, wanted, strict=True):
        alphas.append(_by_network(picture) if by_network else _by_color(picture, color, float(spread)))
    alpha = torch.stack(alphas)
    if empty := int((alpha.flatten(1).mean(dim=1) < _LEAST).sum()):
        raise UserError(
            f"removing the background left nothing of {empty} of {len(alpha)} views: try another draw or seed, or "
            "system.lift.views.cut=rembg."
        )
    how = {"plain": int((~wanted).sum()), "rembg": int(wanted.sum()), "not_plain": int((busy & ~wanted).sum())}
    return Cutout(_unmixed(pictures, alpha, border), alpha, {name: count for name, count in how.items() if count})


def border_of(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Of each picture's border the median colour [N, 3], and how far most of it is from that [N]."""
    edges = [pictures[..., 0, :], pictures[..., -1, :], pictures[..., :, 0], pictures[..., :, -1]]
    ring = torch.cat(edges, dim=-1)
    color = ring.median(dim=-1).values
    away = (ring - color[..., None]).abs().amax(dim=1)
    return color, away.quantile(_NOISE_SHARE, dim=-1)


def _by_color(picture: Tensor, color: Tensor, noise: float) -> Tensor:
    """Alpha [H, W]: 0 near the colour where that reaches the border, 1 inside, and on the rim by likeness."""
    away = (picture - color[:, None, None]).abs().amax(dim=0)
    standing_out = away[away > _TOLERANCES[0]]
    contrast = float(standing_out.median()) if len(standing_out) else 0.0
    tolerance = min(max(_NOISES * noise, _CONTRAST * contrast, _TOLERANCES[0]), _TOLERANCES[1])
    alpha = (away / tolerance - 0.5).clamp(0, 1)
    outside = (alpha < 0.5).numpy()
    areas, count = ndimage.label(outside)
    reaches = np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]))
    for area in np.setdiff1d(np.arange(1, count + 1), reaches):
        inside = torch.from_numpy(areas == area)
        if away[inside].median() > _FLAT_HOLE * tolerance:  # the object's own, only alike
            alpha[inside] = 1.0
    solid = (alpha >= 0.5).numpy()
    inside, near = (torch.from_numpy(grow(solid)) for grow in (ndimage.binary_erosion, ndimage.binary_dilation))
    # A pixel on the rim is a mixture: as much of the object as it is away from the background, next to its neighbours.
    most = torch.from_numpy(ndimage.maximum_filter(away.numpy(), 3)).clamp(min=tolerance)
    mixed = torch.where(near & (away > tolerance / 2), away / most, 0.0)
    return _without_specks(torch.where(inside, 1.0, mixed))


def _without_specks(alpha: Tensor) -> Tensor:
    pieces, count = ndimage.label((alpha >= 0.5).numpy())
    if count < 2:
        return alpha
    sizes = np.bincount(pieces.ravel())[1:]
    specks = np.isin(pieces, 1 + np.flatnonzero(sizes < _SPECK * sizes.sum()))
    return torch.where(torch.from_numpy(specks), 0.0, alpha)


def _by_network(picture: Tensor) -> Tensor:
    """Alpha [H, W] by rembg."""
    if not _has_rembg():
        raise UserError(
            "system.lift.views.cut=rembg needs the package rembg: pip install 'dreamdist3d[rembg]', or set it to plain."
        )
    import rembg
    from PIL import Image

    image = Image.fromarray((picture * 255).round().byte().movedim(0, -1).numpy())
    mask = rembg.remove(image, session=_session(), only_mask=True)
    return torch.from_numpy(np.asarray(mask.convert("L").resize(image.size), dtype=np.float32) / 255.0)


@lru_cache
def _session() -> Any:
    import rembg

    return rembg.new_session()


def _has_rembg() -> bool:
    from importlib.util import find_spec

    return find_spec("rembg") is not None


def _unmixed(pictures: Tensor, alpha: Tensor, behind: Tensor) -> Tensor:
    """The object's colours at its edges, where the background's shine through: picture = a object + (1 - a) behind."""
    share = alpha[:, None].clamp(min=_SURE)
    return ((pictures - (1 - share) * behind[..., None, None]) / share).clamp(0, 1)
