"""Asking a field for its values, a bounded number of points at a time."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor

from dreamdist3d.errors import UserError

PointFunction = Callable[[Tensor], Tensor]
"""[N, 3] float32 world points -> [N] or [N, C] values."""

_CHUNK = 1 << 18
# Of a voxel two away from all that is asked for, the smoothing brings next to nothing to the surface.
_CLEARLY_BELOW, _CLEARLY_ABOVE = 16.0, 4.0


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
    return _lattice(density, _centres(radius, resolution), device)


def sample_near_surface(
    density: PointFunction, radius: float, resolution: int, threshold: float, device: torch.device | str
) -> np.ndarray:
    """As `sample_grid`, with every second voxel along each axis really asked for, and all where the surface may be.

    Far from it, where all asked around are clearly below or above the threshold, a voxel has its neighbour's value.
    Meant for fields that hold nothing thinner than two voxels: it would be missed.

    Raises:
        UserError: a density is not finite.
    """
    centres = _centres(radius, resolution)
    coarse = _lattice(density, centres[::2], device)
    empty = maximum_filter(coarse, size=3) < threshold / _CLEARLY_BELOW
    solid = minimum_filter(coarse, size=3) > threshold * _CLEARLY_ABOVE
    grid = _doubled(coarse)[:resolution, :resolution, :resolution]
    asked = _doubled(~(empty | solid))[:resolution, :resolution, :resolution]
    asked[::2, ::2, ::2] = False
    index = asked.nonzero()
    for start in range(0, len(index[0]), _CHUNK):
        some = tuple(axis[start : start + _CHUNK] for axis in index)
        grid[some] = evaluate_points(density, np.stack([centres[axis] for axis in some], axis=1), device)
    return grid


def _doubled(values: np.ndarray) -> np.ndarray:
    return values.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)


def _centres(radius: float, resolution: int) -> np.ndarray:
    return (np.arange(resolution) + 0.5) * (2.0 * radius / resolution) - radius


def _lattice(density: PointFunction, centres: np.ndarray, device: torch.device | str) -> np.ndarray:
    """Densities at all triples of coordinates: [R, R, R]."""
    resolution = len(centres)
    slab = np.stack(np.meshgrid([0.0], centres, centres, indexing="ij"), axis=-1).reshape(-1, 3)
    depth = max(1, _CHUNK // len(slab))  # slabs per call, so that large grids never stand in memory as points
    parts = []
    for start in range(0, resolution, depth):
        xs = centres[start : start + depth]
        points = np.tile(slab, (len(xs), 1))
        points[:, 0] = np.repeat(xs, len(slab))
        parts.append(evaluate_points(density, points, device))
    return np.concatenate(parts).reshape(resolution, resolution, resolution)
