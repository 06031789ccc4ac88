"""Fields whose surfaces are known exactly; density 10 lies on the surface."""

import torch
from torch import Tensor

from dreamdist3d.mesh.sampling import PointFunction

SURFACE = 10.0


def falling(distance: Tensor, steepness: float = 40.0) -> Tensor:
    """Signed distance (negative inside) to a density that is `SURFACE` at zero."""
    return SURFACE * torch.exp(-steepness * distance).clamp(max=100.0)


def sphere(points: Tensor, radius: float = 0.6, steepness: float = 40.0) -> Tensor:
    """A ball around the origin."""
    return falling(points.norm(dim=-1) - radius, steepness)


def torus(points: Tensor, major: float = 0.6, minor: float = 0.2) -> Tensor:
    """A ring around z."""
    across = points[:, :2].norm(dim=-1) - major
    return falling((across**2 + points[:, 2] ** 2).sqrt() - minor)


def hollow(points: Tensor) -> Tensor:
    """A shell between the radii 0.4 and 0.6."""
    return falling((points.norm(dim=-1) - 0.5).abs() - 0.1)


def box(points: Tensor, low: tuple[float, ...], high: tuple[float, ...]) -> Tensor:
    """Density 100 between two corners, empty elsewhere."""
    inside = (points > torch.tensor(low)) & (points < torch.tensor(high))
    return 100.0 * inside.all(dim=-1).float()


def position_color(points: Tensor) -> Tensor:
    """The colour is the place: (x, y, z) from [-1, 1] to [0, 1]."""
    return (points * 0.5 + 0.5).clamp(0, 1)


def look(density: PointFunction, color: PointFunction) -> PointFunction:
    """Both in one: [N, 3] -> [N, 4]."""
    return lambda points: torch.cat([density(points)[:, None], color(points)], dim=1)
