"""Which cells of the cube hold anything: an exponentially decayed density maximum on a coarse grid."""

from typing import Any

import torch
from torch import Tensor, nn

from dreamdist3d.lift.config import RendererConfig
from dreamdist3d.lift.field import Field

_DECAY = 0.8
_PROBES = 4


class OccupancyGrid(nn.Module):
    """Plain torch, so that it runs wherever the rest does; the idea is Instant-NGP's (section E.2)."""

    def __init__(self, config: RendererConfig, radius: float) -> None:
        super().__init__()
        self.config, self.radius = config, radius
        n = config.occupancy_resolution
        self.density: Tensor
        self.register_buffer("density", torch.full((n, n, n), float("inf")))
        self._mask: Tensor | None = None  # of the density as it is; None when that has changed

    @torch.no_grad()
    def update(self, field: Field, generator: torch.Generator) -> None:
        """Query the field once at a random point of every cell; what was dense fades out slowly."""
        n = self.config.occupancy_resolution
        cells = torch.stack(torch.meshgrid(*[torch.arange(n)] * 3, indexing="ij"), dim=-1).view(-1, 3)
        jitter = torch.rand(cells.shape, generator=generator)
        points = ((cells + jitter) / n * 2 - 1).to(self.density.device) * self.radius
        fresh = field.density(points).view(n, n, n)
        kept = torch.where(self.density.isinf(), 0.0, self.density * _DECAY)
        self.density.copy_(torch.maximum(kept, fresh))
        self._mask = None

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Take over another grid's density."""
        self._mask = None
        return super().load_state_dict(*args, **kwargs)

    def occupied(self, points: Tensor) -> Tensor:
        """[N, 3] -> bool [N]: the point's cell, or a neighbour of it, is dense enough."""
        n = self.config.occupancy_resolution
        cell = ((points / self.radius + 1) * 0.5 * n).long().clamp_(0, n - 1)
        if self._mask is None or self._mask.device != cell.device:
            dense = (self.density > self.config.occupancy_threshold).float()
            # One cell of margin: a surface may grow outwards between two updates.
            self._mask = torch.nn.functional.max_pool3d(dense[None, None], 3, stride=1, padding=1)[0, 0] > 0
        return self._mask.view(-1)[(cell[:, 0] * n + cell[:, 1]) * n + cell[:, 2]]


def occupancy_of(field: Field, config: RendererConfig) -> OccupancyGrid:
    """The occupancy of a finished field, from several probes of every cell."""
    grid = OccupancyGrid(config, field.radius).to(field.outer.weight.device)
    generator = torch.Generator().manual_seed(0)
    for _ in range(_PROBES):
        grid.update(field, generator)
    return grid
