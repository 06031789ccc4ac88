"""Regularisers of a lift, each a scalar; a term of weight zero is not computed."""

import torch
from torch import Tensor

from dreamdist3d.lift.config import LossConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.render import Rendering

_EPSILON = 1e-4
_FOG_DENSITY = 1.0  # 1 / world unit: below it a sample counts as fog


def regularisers(config: LossConfig, field: Field, rendering: Rendering) -> dict[str, Tensor]:
    """The terms of `config` with a positive weight, unweighted."""
    terms = {
        "fog": lambda: fog(rendering.density, rendering.n_samples),
        "entropy": lambda: entropy(rendering.opacity),
        "tv": field.total_variation,
    }
    return {name: term() for name, term in terms.items() if getattr(config, name) > 0}


def fog(density: Tensor, n_samples: int) -> Tensor:
    """mean d0 log(1 + density / d0) over all samples of a picture, the skipped ones counting as empty.

    Concave: thin fog, d << d0, pays in proportion to its density, solid matter hardly feels the term.
    A penalty on opacity instead would eat whatever looks like the background.

    Args:
        density: of the samples that were queried, [N].
        n_samples: how many samples there were before the empty ones were skipped.
    """
    return _FOG_DENSITY * torch.log1p(density / _FOG_DENSITY).sum() / n_samples


def entropy(opacity: Tensor) -> Tensor:
    """Mean binary entropy in nats: a pixel should be seen through or not."""
    o = opacity.clamp(_EPSILON, 1 - _EPSILON)
    return -(o * torch.log(o) + (1 - o) * torch.log(1 - o)).mean()
