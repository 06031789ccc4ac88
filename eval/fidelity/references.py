"""Similarity to the reference images: higher is more faithful."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Fidelity:
    """How A assets stand to R references."""

    mean: float  # over assets, in [-1, 1]
    per_asset: Tensor  # [A] mean over an asset's views of the mean over the references
    nearest: Tensor  # [A] mean over an asset's views of the similarity to the reference nearest to the asset
    nearest_reference: Tensor  # [A] int64, which reference that is


def reference_similarity(
    features: Tensor,  # [A, V, D]
    references: Tensor,  # [R, D]
) -> Fidelity:
    """Mean cosine similarity of a set's views to the reference images (CLIP-I and DINO of the papers).

    The reference nearest to an asset is the one that is most similar on average over its views; a
    similarity near 1 for every asset says that references were copied.

    Raises:
        ValueError: nothing to compare.

    Example:
        >>> result = reference_similarity(torch.tensor([[[1.0, 0.0]]]), torch.eye(2))
        >>> result.mean, result.nearest.tolist(), result.nearest_reference.tolist()
        (0.5, [1.0], [0])
    """
    if not features.shape[0] or not features.shape[1] or not len(references):
        raise ValueError("fidelity needs at least one asset, one view and one reference")
    unit = F.normalize(features.double(), dim=-1)
    cosine = torch.einsum("avd,rd->ar", unit, F.normalize(references.double(), dim=-1)) / features.shape[1]
    per_asset = cosine.mean(dim=1)
    nearest, index = cosine.max(dim=1)
    return Fidelity(float(per_asset.mean()), per_asset, nearest, index)
