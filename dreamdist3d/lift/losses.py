"""Regularisers of a lift, each a scalar; a term of weight zero is not computed."""

import torch
from torch import Tensor

from dreamdist3d.lift.config import LossConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.render import Rendering

_EPSILON = 1e-4


def regularisers(config: LossConfig, field: Field, rendering: Rendering) -> dict[str, Tensor]:
    """The terms of `config` with a positive weight, unweighted."""
    terms = {
        "fog": lambda: fog(rendering.density, rendering.n_samples),
        "entropy": lambda: entropy(rendering.opacity),
        "tv": field.total_variation,
    }
    return {name: term() for name, term in terms.items() if getattr(config, name) > 0}


def fog(density: Tensor, n_samples: int) -> Tensor:
    """mean log(1 + density) over all samples of a picture, the skipped ones counting as empty.

    Concave, so that thin fog pays most for what it shows and solid matter hardly anything.

    Args:
        density: of the samples that were queried, [N].
        n_samples: how many samples there were before the empty ones were skipped.
    """
    return torch.log1p(density).sum() / n_samples


def entropy(opacity: Tensor) -> Tensor:
    """Mean binary entropy in nats: a pixel should be seen through or not."""
    o = opacity.clamp(_EPSILON, 1 - _EPSILON)
    return -(o * torch.log(o) + (1 - o) * torch.log(1 - o)).mean()
