"""A field and pictures of what it is to be: random rays, random colours behind them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.lift.losses import entropy, fog
from dreamdist3d.lift.pool import Rays, ViewPool
from dreamdist3d.lift.render import RayRendering, render_rays
from dreamdist3d.lift.state import LiftState
from dreamdist3d.randomness import generator_for

_FACING, _LEAST = 4, 0.05  # the power of the cosine by which a view's colours count, and the least that they do
_AXIS = 0.3  # of the field's radius: nearer to the upright axis the cosine says less and less
_BEND = 0.1  # where smooth L1 turns from square to straight, in units of the pixel range


def fit_step(state: LiftState, pool: ViewPool, n_rays: int, n_samples: int) -> dict[str, float]:
    """Move the state's field one step towards the pool's pictures; returns the terms of the loss, unweighted.

    Raises:
        FloatingPointError: the loss or a gradient is not finite; the weights stay as they were.
    """
    generator = generator_for(state.seed, "fit", state.step)
    with state.begun(generator) as field:
        rays = pool.rays(n_rays, generator)
        seen = render_rays(field, rays.origins, rays.directions, n_samples, state.occupancy, generator)
        behind = torch.rand(n_rays, 3, generator=generator).to(seen.rgb)
        terms = {"guidance": difference(seen, rays, behind, field.radius)} | _regularisers(state, seen)
        total = torch.stack([getattr(state.config.loss, name) * term for name, term in terms.items()]).sum()
        if not torch.isfinite(total):
            raise FloatingPointError("the loss")
        total.backward()
    state.descend()
    return {"loss": float(total.detach())} | {name: float(term.detach()) for name, term in terms.items()}


def held(state: LiftState, pool: ViewPool, n_rays: int, n_samples: int, outlines: float) -> Tensor:
    """How far the field of a step that has begun is from random pixels of the pool, as `difference_on_both` says."""
    generator = generator_for(state.seed, "held", state.step)
    rays = pool.rays(n_rays, generator)
    seen = render_rays(state.field, rays.origins, rays.directions, n_samples, state.occupancy, generator)
    behind = torch.rand(n_rays, 3, generator=generator).to(seen.rgb)
    return difference_on_both(seen, rays, behind, state.field.radius, outlines)


def difference(seen: RayRendering, rays: Rays, behind: Tensor, radius: float) -> Tensor:
    """Smooth L1 of colours over `behind` [R, 3], and of opacities: a field cannot hide holes behind one colour.

    Where views of an object differ in their patterns, a mean of all is mud: colours are weighted by how much a view
    faces what it sees.
    """
    weight = torch.lerp(torch.ones_like(rays.alpha), facing(seen, rays, radius), rays.alpha)
    return (weight * _colors(seen, rays, behind)).sum() / weight.sum() + _opacities(seen, rays)


def difference_on_both(seen: RayRendering, rays: Rays, behind: Tensor, radius: float, outlines: float) -> Tensor:
    """As `difference`, where the shape is to move: colours count where field and picture both have something.

    Args:
        seen, rays, radius: R rays, and what the field shows there.
        behind: colours, [R, 3].
        outlines: weight of the opacities next to the colours.
    """
    weight = facing(seen, rays, radius) * rays.alpha * seen.opacity.detach()
    colors = (weight * _colors(seen, rays, behind)).sum() / weight.sum().clamp(min=1.0)
    return colors + outlines * _opacities(seen, rays)


def _colors(seen: RayRendering, rays: Rays, behind: Tensor) -> Tensor:
    shown = seen.rgb + (1 - seen.opacity)[:, None] * behind
    wanted = torch.lerp(behind, rays.rgb, rays.alpha[:, None])
    return F.smooth_l1_loss(shown, wanted, beta=_BEND, reduction="none").mean(dim=-1)


def _opacities(seen: RayRendering, rays: Rays) -> Tensor:
    return F.smooth_l1_loss(seen.opacity, rays.alpha, beta=_BEND)


def facing(seen: RayRendering, rays: Rays, radius: float) -> Tensor:
    """[R] in [0.05, 1]: 1 where a ray meets what lies between the object's upright axis and the camera.

    Near the axis, as on a lid, every view is as good as any other.
    """
    points = (rays.origins + seen.distance[:, None] * rays.directions)[:, :2]
    away = points.norm(dim=-1)
    cosine = -F.cosine_similarity(points, rays.directions[:, :2], dim=-1)
    off_axis = (away / (_AXIS * radius)).clamp(max=1)
    return (1 - off_axis * (1 - cosine)).clamp(min=0).pow(_FACING).clamp(min=_LEAST)


def _regularisers(state: LiftState, seen: RayRendering) -> dict[str, Tensor]:
    """Those of a distillation; the opacity's entropy joins by and by, when there is a shape to decide on."""
    terms = {
        "fog": lambda: fog(seen.density, seen.n_samples),
        "entropy": lambda: state.progress * entropy(seen.opacity),
        "tv": state.field.total_variation,
    }
    return {name: term() for name, term in terms.items() if getattr(state.config.loss, name) > 0}
