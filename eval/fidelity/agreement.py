"""How much an asset keeps of what its draw looks like: the views that the model drew before there was a shape."""

import torch
import torch.nn.functional as F
from torch import Tensor


def agreement(
    features: Tensor,  # [A, V, D]
    own: Tensor,  # [A, V, D]
) -> Tensor:
    """Mean cosine similarity of each asset's views to the draw's own first views from the same sides: float64 [A].

    Near 1: the asset is what was drawn. Lifts of one draw are compared by it; between draws it says how hard they are.

    Raises:
        ValueError: the views do not match.

    Example:
        >>> asset = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
        >>> agreement(asset, torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])).tolist()
        [0.5]
    """
    if features.shape != own.shape:
        raise ValueError(f"agreement is between the same views: {list(features.shape)} against {list(own.shape)}")
    unit, other = (F.normalize(views.double(), dim=-1) for views in (features, own))
    return torch.einsum("avd,avd->a", unit, other) / features.shape[1]
