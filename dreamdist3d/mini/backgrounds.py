"""What is behind an object in training pictures: a plain colour, a gradient, or a texture."""

from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BACKGROUND_ODDS = (0.7, 0.15, 0.15)  # of `captions.BACKGROUND_NAMES`
_GRAINS = (4, 9, 18)  # cells a side of the texture's noise, from coarse to fine


def random_backgrounds(count: int, generator: torch.Generator) -> Tensor:
    """[count, 3] plain colours in [0, 1]: a third white, a third gray levels, a third anything."""
    on: dict[str, Any] = {"generator": generator, "device": generator.device}
    color = torch.rand(count, 3, **on)
    gray = torch.rand(count, 1, **on).expand(count, 3)
    kind = torch.randint(0, 3, (count, 1), **on)
    return torch.where(kind == 0, torch.ones_like(color), torch.where(kind == 1, gray, color))


def random_scenes(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Backgrounds [count, 3, size, size] in [0, 1], and their kinds [count], places in `captions.BACKGROUND_NAMES`."""
    on: dict[str, Any] = {"generator": generator, "device": generator.device}
    first, second = (random_backgrounds(count, generator)[..., None, None] for _ in range(2))
    second = (second + 0.35 * torch.rand(count, 3, 1, 1, **on)).remainder(1.0)  # white on white is no gradient
    mix = torch.stack([torch.zeros(count, size, size, device=generator.device)] + [
        make(count, size, generator) for make in (_gradient, _texture)
    ])  # fmt: skip
    place = torch.rand(count, **on)
    # Compared number by number: a tensor of the bounds would be copied to the GPU, which no CUDA graph can record.
    kinds = torch.stack([place > bound for bound in accumulate(BACKGROUND_ODDS[:-1])]).sum(dim=0)
    chosen = mix.gather(0, kinds.view(1, count, 1, 1).expand(1, count, size, size))[0, :, None]
    return torch.lerp(first.expand(-1, -1, size, size), second.expand(-1, -1, size, size), chosen), kinds


def _gradient(count: int, size: int, generator: torch.Generator) -> Tensor:
    """[count, size, size] from 0 to 1 along a direction of its own."""
    angle = 2 * torch.pi * torch.rand(count, 1, 1, generator=generator, device=generator.device)
    place = torch.linspace(-1, 1, size, device=generator.device)
    along = angle.cos() * place[None, None, :] + angle.sin() * place[None, :, None]
    return along / (2 * (angle.cos().abs() + angle.sin().abs())) + 0.5


def _texture(count: int, size: int, generator: torch.Generator) -> Tensor:
    """[count, size, size] of smooth noise in [0, 1], coarse and fine grains in shares of their own."""
    on: dict[str, Any] = {"generator": generator, "device": generator.device}
    total = torch.zeros(count, size, size, device=generator.device)
    for grain in _GRAINS:
        noise = F.interpolate(torch.rand(count, 1, grain, grain, **on), (size, size), mode="bilinear")[:, 0]
        total = total + (noise - 0.5) * torch.rand(count, 1, 1, **on)
    low, high = total.amin(dim=(1, 2), keepdim=True), total.amax(dim=(1, 2), keepdim=True)
    return (total - low) / (high - low).clamp(min=1e-6)
