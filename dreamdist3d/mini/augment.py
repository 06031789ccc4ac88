"""What pictures go through before a judge in training sees them: [B, 3, S, S] in [-1, 1], all at once.

Batched and without a branch on a drawn value, so that a GPU can record it (`dreamdist3d.mini.captured`).
"""

from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_TURNED_SHARE, _GRAY_SHARE = 0.45, 0.25
_BLURRED_SHARE = 0.4
_LUMA = (0.299, 0.587, 0.114)


def augmented(pictures: Tensor, generator: torch.Generator, smallest: float) -> Tensor:
    """Per picture: a random square crop of at least `smallest` of the side, a flip, brightness and contrast."""
    count, size = len(pictures), pictures.shape[-1]
    on: dict[str, Any] = {"generator": generator, "device": pictures.device}
    share = smallest + (1 - smallest) * torch.rand(count, **on)
    center = (2 * torch.rand(count, 2, **on) - 1) * (1 - share)[:, None]
    flip = torch.where(torch.rand(count, **on) < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(share)
    rows = [torch.stack([share * flip, zero, center[:, 0]], dim=1), torch.stack([zero, share, center[:, 1]], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1), [count, 3, size, size], align_corners=False)
    crops = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    gain = 1 + 0.3 * (torch.rand(count, 1, 1, 1, **on) - 0.5)
    lift = 0.2 * (torch.rand(count, 1, 1, 1, **on) - 0.5)
    return (crops * gain + lift).clamp(-1, 1)


def recoloured(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """The colours of a share of the pictures turned around the gray axis, those of another share taken away."""
    count = len(pictures)
    on: dict[str, Any] = {"generator": generator, "device": pictures.device}
    turn = _turns(2 * torch.pi * torch.rand(count, **on))
    turned = torch.einsum("bij,bjhw->bihw", turn, pictures).clamp(-1, 1)
    shares = [weight * pictures[:, i] for i, weight in enumerate(_LUMA)]
    gray = reduce(torch.add, shares)[:, None].expand_as(pictures)
    place = torch.rand(count, 1, 1, 1, **on)
    kept = torch.where(place < _TURNED_SHARE, turned, pictures)
    return torch.where(place > 1 - _GRAY_SHARE, gray, kept)


def worn(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """A share of the pictures blurred, as a small autoencoder or a soft lift blurs them, and noise on all."""
    count, size = len(pictures), pictures.shape[-1]
    on: dict[str, Any] = {"generator": generator, "device": pictures.device}
    small = F.interpolate(pictures, (size // 2, size // 2), mode="area")
    soft = F.interpolate(small, (size, size), mode="bilinear", align_corners=False)
    amount = torch.rand(count, 1, 1, 1, **on) * (torch.rand(count, 1, 1, 1, **on) < _BLURRED_SHARE)
    noise = torch.randn(pictures.shape, **on) * 0.05 * torch.rand(count, 1, 1, 1, **on)
    return (torch.lerp(pictures, soft, amount) + noise).clamp(-1, 1)


def _turns(angle: Tensor) -> Tensor:
    """Rotations [B, 3, 3] about the gray axis (1, 1, 1) by `angle` [B]: Rodrigues' formula."""
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None] / 3**0.5
    eye = torch.eye(3, device=angle.device)
    cross = eye.roll(1, dims=0) - eye.roll(1, dims=1)
    return cosine * eye + (1 - cosine) / 3 + sine * cross
