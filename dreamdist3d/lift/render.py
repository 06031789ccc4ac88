"""Volume rendering of a field: uniform samples inside the cube, empty cells skipped, rays end in what is opaque."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamdist3d.lift.cameras import Cameras, rays
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.occupancy import OccupancyGrid

_OPAQUE = math.log(512.0)  # optical depth behind which nothing shows in 8 bits
_SAMPLES_AT_ONCE = 8


@dataclass(frozen=True)
class Rendering:
    """Pictures of B cameras over a background."""

    rgb: Tensor  # [B, 3, H, W], [0, 1]
    opacity: Tensor  # [B, H, W], [0, 1]
    density: Tensor  # [queried samples], for regularisers
    n_samples: int  # along all rays, the skipped ones among them


def render(
    field: Field,
    cameras: Cameras,
    resolution: int,
    n_samples: int,
    background: Tensor,  # [3] or [B, 3]
    occupancy: OccupancyGrid | None = None,
    generator: torch.Generator | None = None,
) -> Rendering:
    """Render a field from `cameras` at `resolution` x `resolution` pixels.

    Args:
        n_samples: samples per ray between the ray's entry into the cube and its exit.
        background: colour behind the object.
        occupancy: skips empty cells; None queries every sample.
        generator: jitters the samples within their bins; None takes the middles.
    """
    origins, directions = (x.reshape(-1, 3) for x in rays(cameras, resolution, resolution))
    seen = render_rays(field, origins, directions, n_samples, occupancy, generator)
    behind = background.to(seen.rgb).expand(len(cameras.c2w), 3).repeat_interleave(resolution**2, dim=0)
    rgb = seen.rgb + (1 - seen.opacity)[:, None] * behind
    shape = (len(cameras.c2w), resolution, resolution)
    return Rendering(rgb.view(*shape, 3).movedim(-1, 1), seen.opacity.view(shape), seen.density, seen.n_samples)


@dataclass(frozen=True)
class RayRendering:
    """What R rays meet."""

    rgb: Tensor  # [R, 3], in [0, 1] and weighted by the opacity: over black
    opacity: Tensor  # [R], [0, 1]
    density: Tensor  # [queried samples], for regularisers
    n_samples: int  # along all rays, the skipped ones among them
    distance: Tensor  # [R], to what is seen on average; without gradient, and meaningless where nothing is


def render_rays(
    field: Field,
    origins: Tensor,  # [R, 3]
    directions: Tensor,  # [R, 3], unit
    n_samples: int,
    occupancy: OccupancyGrid | None = None,
    generator: torch.Generator | None = None,
) -> RayRendering:
    """Render rays of any cameras; the other arguments are those of `render`.

    A ray is followed in pieces of 16 samples, to its exit or to where less than 1/512 of the light comes through.
    """
    near, far = _cube_interval(origins, directions, field.radius)
    edges = _edges(near, far, n_samples, generator)
    place, density, color = _march(field, origins, directions, edges, far > near, occupancy)
    # Weights need their whole ray; of colours there are only as many as samples that were looked at.
    dense = density.new_zeros(edges[:, 1:].numel()).index_copy(0, place, density).view(len(edges), -1)
    weights = weights_of(dense, edges)
    seen = weights.view(-1)[place, None] * color
    rgb = color.new_zeros(len(edges), 3).index_add(0, place // n_samples, seen)
    middles = (edges[:, 1:] + edges[:, :-1]) / 2
    distance = (weights.detach() * middles).sum(dim=1) / weights.detach().sum(dim=1).clamp(min=1e-6)
    return RayRendering(rgb, weights.sum(dim=1), density, dense.numel(), distance)


def weights_of(density: Tensor, edges: Tensor) -> Tensor:
    """How much each sample adds to its ray (NeRF, equation 3): [R, S] from densities [R, S] and edges [R, S + 1].

    w_i = exp(-sum_{j<i} sigma_j d_j) (1 - exp(-sigma_i d_i)); their sum is the ray's opacity.
    """
    depth = density * edges.diff(dim=1)
    before = torch.cumsum(depth, dim=1) - depth
    return torch.exp(-before) * -torch.expm1(-depth)


def _march(
    field: Field, origins: Tensor, directions: Tensor, edges: Tensor, hits: Tensor, occupancy: OccupancyGrid | None
) -> tuple[Tensor, Tensor, Tensor]:
    """What is met on the way: flat places [N] in [R, S], density [N] and colour [N, 3]."""
    n_samples, found = edges.shape[1] - 1, []
    depth = torch.zeros_like(edges[:, 0])  # optical, so far
    for start in range(0, n_samples, _SAMPLES_AT_ONCE):
        alive = ((depth < _OPAQUE) & hits).nonzero().squeeze(-1)
        part = edges[alive, start : start + _SAMPLES_AT_ONCE + 1]
        middles = (part[:, 1:] + part[:, :-1]) / 2
        points = origins[alive, None] + directions[alive, None] * middles[..., None]  # [A, s, 3]
        index = _occupied(field, points, occupancy)
        density, color = field(points.view(-1, 3)[index])
        row, sample = index // middles.shape[1], index % middles.shape[1]
        depth.index_add_(0, alive[row], (density.detach() * part.diff(dim=1).reshape(-1)[index]))
        found.append((alive[row] * n_samples + start + sample, density, color))
    place, density, color = (torch.cat(pieces) for pieces in zip(*found, strict=True))
    return place, density, color


def _occupied(field: Field, points: Tensor, occupancy: OccupancyGrid | None) -> Tensor:
    """Flat places of the points [..., 3] that lie in the cube, and in cells that are not empty."""
    inside = torch.nonzero((points.abs() <= field.radius).all(dim=-1).view(-1)).squeeze(-1)
    return inside if occupancy is None else inside[occupancy.occupied(points.view(-1, 3)[inside])]


@torch.no_grad()
def render_opacity(
    field: Field, cameras: Cameras, resolution: int, n_samples: int, occupancy: OccupancyGrid | None = None
) -> Tensor:
    """The opacities [B, H, W] that `render` finds without jitter; the arguments are those of `render`."""
    origins, directions = (x.reshape(-1, 3) for x in rays(cameras, resolution, resolution))
    near, far = _cube_interval(origins, directions, field.radius)
    edges = _edges(near, far, n_samples, None)
    place, density, _ = _march(field, origins, directions, edges, far > near, occupancy)
    depth = torch.zeros_like(near).index_add(0, place // n_samples, density * edges.diff(dim=1).reshape(-1)[place])
    return (1.0 - torch.exp(-depth)).view(len(cameras.c2w), resolution, resolution)


def _cube_interval(origins: Tensor, directions: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Entry and exit distances of rays through the cube, [R] each; far <= near when missed."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    low, high = (-radius - origins) / safe, (radius - origins) / safe
    near = torch.minimum(low, high).amax(dim=-1).clamp(min=0.0)
    far = torch.maximum(low, high).amin(dim=-1)
    return near, torch.maximum(far, near)


def _edges(near: Tensor, far: Tensor, n_samples: int, generator: torch.Generator | None) -> Tensor:
    """Bin edges [R, S + 1]; jittered as a whole per ray, which keeps the bins equal."""
    steps = torch.linspace(0.0, 1.0, n_samples + 1, device=near.device)
    edges = near[:, None] + (far - near)[:, None] * steps
    if generator is not None:
        shift = torch.rand(len(near), 1, generator=generator).to(near.device) - 0.5
        edges = edges + shift * ((far - near)[:, None] / n_samples)
    return edges
