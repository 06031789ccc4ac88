"""One step of fitting a field to pictures: random rays, random colours behind them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.lift.losses import entropy, fog
from dreamdist3d.lift.pool import Rays, ViewPool
from dreamdist3d.lift.render import RayRendering, render_rays
from dreamdist3d.lift.state import LiftState
from dreamdist3d.randomness import generator_for

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
        terms = {"guidance": difference(seen, rays, behind)} | _regularisers(state, seen)
        total = torch.stack([getattr(state.config.loss, name) * term for name, term in terms.items()]).sum()
        if not torch.isfinite(total):
            raise FloatingPointError("the loss")
        total.backward()
    state.descend()
    return {"loss": float(total.detach())} | {name: float(term.detach()) for name, term in terms.items()}


def difference(seen: RayRendering, rays: Rays, behind: Tensor) -> Tensor:
    """Smooth L1 of colours over `behind` [R, 3], and of opacities: a field cannot hide holes behind one colour."""
    shown = seen.rgb + (1 - seen.opacity)[:, None] * behind
    wanted = torch.lerp(behind, rays.rgb, rays.alpha[:, None])
    return F.smooth_l1_loss(shown, wanted, beta=_BEND) + F.smooth_l1_loss(seen.opacity, rays.alpha, beta=_BEND)


def _regularisers(state: LiftState, seen: RayRendering) -> dict[str, Tensor]:
    """Those of a distillation; the opacity's entropy joins by and by, when there is a shape to decide on."""
    terms = {
        "fog": lambda: fog(seen.density, seen.n_samples),
        "entropy": lambda: state.progress * entropy(seen.opacity),
        "tv": state.field.total_variation,
    }
    return {name: term() for name, term in terms.items() if getattr(state.config.loss, name) > 0}
