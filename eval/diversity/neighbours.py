"""How far each asset is from the one most like it, and which assets are nearly the same."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Neighbours:
    """The most similar other asset of each of A assets."""

    distance: Tensor  # [A] in [0, 2], 1 - cosine similarity
    index: Tensor  # [A] int64, which asset that is


def nearest_neighbours(
    similarity: Tensor,  # [A, A]
) -> Neighbours:
    """Each asset's nearest other asset of its own set.

    The mean distance tells a set of a few clusters of copies from one that is spread out, which the mean over all
    pairs does not.

    Raises:
        ValueError: fewer than two assets.

    Example:
        >>> found = nearest_neighbours(torch.tensor([[1.0, 0.75, 0.0], [0.75, 1.0, 0.5], [0.0, 0.5, 1.0]]))
        >>> found.distance.tolist(), found.index.tolist()
        ([0.25, 0.25, 0.5], [1, 0, 1])
    """
    if len(similarity) < 2:
        raise ValueError("a nearest neighbour needs at least two assets")
    others = similarity.masked_fill(torch.eye(len(similarity), dtype=torch.bool), -torch.inf)
    nearest, index = others.max(dim=1)
    return Neighbours(1.0 - nearest, index)


def near_duplicates(
    similarity: Tensor,  # [A, A]
    threshold: float,
) -> list[tuple[int, int, float]]:
    """The pairs (i, j, similarity), i < j, at or above the threshold, the most similar first.

    No one threshold suits every encoder: one of the references' own, such as their highest pairwise similarity,
    says what counts as the same thing here.

    Example:
        >>> near_duplicates(torch.tensor([[1.0, 0.75, 0.0], [0.75, 1.0, 0.5], [0.0, 0.5, 1.0]]), 0.5)
        [(0, 1, 0.75), (1, 2, 0.5)]
    """
    upper = torch.triu(similarity >= threshold, diagonal=1)
    pairs = [(i, j, float(similarity[i, j])) for i, j in upper.nonzero().tolist()]
    return sorted(pairs, key=lambda pair: -pair[2])
