"""Asking a field for its values, a bounded number of points at a time."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.errors import UserError

PointFunction = Callable[[Tensor], Tensor]
"""[N, 3] float32 world points -> [N] or [N, C] values."""

_CHUNK = 1 << 18


@torch.no_grad()
def evaluate_points(function: PointFunction, points: np.ndarray, device: torch.device | str) -> np.ndarray:
    """Values of `function` at [N, 3] points, as float32; never more than 2^18 points in one call.

    Raises:
        UserError: a value is not finite.
    """
    chunks = torch.from_numpy(points.astype(np.float32)).split(_CHUNK)
    values = torch.cat([function(chunk.to(device)).float().cpu() for chunk in chunks]).numpy()
    if not np.isfinite(values).all():
        raise UserError(
            "the field holds values that are not finite, so there is no mesh: the lift diverged; "
            "run it again with another seed or a lower learning rate."
        )
    return values


def sample_grid(density: PointFunction, radius: float, resolution: int, device: torch.device | str) -> np.ndarray:
    """Densities at the voxel centres of the cube [-radius, radius]^3: float32 [R, R, R], indexed x, y, z.

    Raises:
        UserError: a density is not finite.
    """
    centres = (np.arange(resolution) + 0.5) * (2.0 * radius / resolution) - radius
    slab = np.stack(np.meshgrid([0.0], centres, centres, indexing="ij"), axis=-1).reshape(-1, 3)
    depth = max(1, _CHUNK // len(slab))  # slabs per call, so that large grids never stand in memory as points
    parts = []
    for start in range(0, resolution, depth):
        xs = centres[start : start + depth]
        points = np.tile(slab, (len(xs), 1))
        points[:, 0] = np.repeat(xs, len(slab))
        parts.append(evaluate_points(density, points, device))
    return np.concatenate(parts).reshape(resolution, resolution, resolution)
