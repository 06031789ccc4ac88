"""Volume rendering of a field: uniform samples inside the cube, empty cells skipped, nerfacc's integrals."""

import math
from dataclasses import dataclass

import nerfacc
import torch
from torch import Tensor

from dreamdist3d.lift.cameras import Cameras, rays
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.occupancy import OccupancyGrid

_OPAQUE = math.log(512.0)  # optical depth behind which nothing shows in 8 bits
_SAMPLES_AT_ONCE = 16


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


def render_rays(
    field: Field,
    origins: Tensor,  # [R, 3]
    directions: Tensor,  # [R, 3], unit
    n_samples: int,
    occupancy: OccupancyGrid | None = None,
    generator: torch.Generator | None = None,
) -> RayRendering:
    """Render rays of any cameras; the other arguments are those of `render`."""
    near, far = _cube_interval(origins, directions, field.radius)
    edges = _edges(near, far, n_samples, generator)
    starts, ends = edges[:, :-1], edges[:, 1:]
    points = origins[:, None] + directions[:, None] * ((starts + ends) / 2)[..., None]  # [R, S, 3]
    density, color, queried = _query_occupied(field, points, (far > near), occupancy)
    weights, _, _ = nerfacc.render_weight_from_density(starts, ends, density)
    opacity = weights.sum(dim=1)
    return RayRendering(nerfacc.accumulate_along_rays(weights, color), opacity, queried, density.numel())


@torch.no_grad()
def render_opacity(
    field: Field, cameras: Cameras, resolution: int, n_samples: int, occupancy: OccupancyGrid | None = None
) -> Tensor:
    """The opacities [B, H, W] that `render` finds without jitter, up to 1/512; rays end where nothing more shows.

    The arguments are those of `render`.
    """
    origins, directions = (x.reshape(-1, 3) for x in rays(cameras, resolution, resolution))
    near, far = _cube_interval(origins, directions, field.radius)
    edges = _edges(near, far, n_samples, None)
    depth = torch.zeros_like(near)  # optical, so far
    for start in range(0, n_samples, _SAMPLES_AT_ONCE):
        alive = ((depth < _OPAQUE) & (far > near)).nonzero().squeeze(-1)
        part = edges[alive, start : start + _SAMPLES_AT_ONCE + 1]
        middles = (part[:, 1:] + part[:, :-1]) / 2
        points = origins[alive, None] + directions[alive, None] * middles[..., None]
        density, _, _ = _query_occupied(field, points, torch.ones_like(alive, dtype=torch.bool), occupancy)
        depth[alive] += (density * part.diff(dim=1)).sum(dim=1)
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


def _query_occupied(
    field: Field,
    points: Tensor,  # [R, S, 3]
    hits: Tensor,  # [R] bool
    occupancy: OccupancyGrid | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Density [R, S] and colour [R, S, 3], zero where skipped, and the densities that were really queried."""
    keep = hits[:, None] & (points.abs() <= field.radius).all(dim=-1)
    if occupancy is not None:
        candidates = torch.nonzero(keep.view(-1)).squeeze(-1)
        index = candidates[occupancy.occupied(points.view(-1, 3)[candidates])]
    else:
        index = torch.nonzero(keep.view(-1)).squeeze(-1)
    density, color = field(points.view(-1, 3)[index])
    count = keep.numel()
    dense = density.new_zeros(count).index_copy(0, index, density)
    colors = color.new_zeros(count, 3).index_copy(0, index, color)
    return dense.view(keep.shape), colors.view(*keep.shape, 3), density
