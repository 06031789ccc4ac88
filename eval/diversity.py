"""Mean pairwise cosine similarity inside a set: lower is more diverse."""

import torch
import torch.nn.functional as F
from torch import Tensor


class SimilarityAccumulator:
    r"""Mean cosine similarity over all pairs of a stream of features, without ever forming a pair.

    For unit vectors :math:`x_1 \dots x_N` (DreamDistribution, appendix C.9, Table 4)

    .. math:: \frac{2}{N(N-1)} \sum_{i<j} \langle x_i, x_j \rangle
              = \frac{\lVert \sum_i x_i \rVert^2 - N}{N(N-1)}

    O(N d) time and O(d) memory in float64; accumulators of different machines merge.

    Example:
        >>> accumulator = SimilarityAccumulator()
        >>> accumulator.update(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        >>> accumulator.update(torch.tensor([[1.0, 0.0]]))
        >>> round(accumulator.compute(), 6)
        0.333333
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | None = None  # [D]

    def update(self, features: Tensor) -> None:
        """Add [N, D] features; lengths do not matter, directions do.

        Raises:
            ValueError: not [N, D], another D than before, a vector without direction or not finite.
        """
        unit = _unit(features)
        if self._sum is not None and unit.shape[1] != len(self._sum):
            raise ValueError(f"features have {unit.shape[1]} numbers, those before had {len(self._sum)}")
        total = unit.sum(dim=0)
        self._sum = total if self._sum is None else self._sum + total
        self.count += len(unit)

    def merge(self, other: "SimilarityAccumulator") -> None:
        """Add everything that `other` has seen.

        Raises:
            ValueError: the features differ in length.
        """
        if other._sum is None:
            return
        if self._sum is not None and len(self._sum) != len(other._sum):
            raise ValueError(f"features of {len(other._sum)} numbers cannot join those of {len(self._sum)}")
        self._sum = other._sum.clone() if self._sum is None else self._sum + other._sum
        self.count += other.count

    def compute(self) -> float | None:
        """The mean in [-1, 1]; None while there are fewer than two vectors and so no pair."""
        if self._sum is None or self.count < 2:
            return None
        return float((self._sum @ self._sum - self.count) / (self.count * (self.count - 1)))


def mean_pairwise_similarity(features: Tensor) -> float | None:
    """Mean cosine similarity over all pairs of [N, D] features, in [-1, 1]; None for fewer than two.

    Example:
        >>> mean_pairwise_similarity(torch.eye(3))
        0.0
    """
    accumulator = SimilarityAccumulator()
    accumulator.update(features)
    return accumulator.compute()


def matched_view_similarity(features: Tensor) -> float | None:
    """Mean over V views of the pairwise similarity of A assets seen from that view, in [-1, 1].

    Matched views compare fronts with fronts, so that turning an asset is no diversity.

    Args:
        features: [A, V, D].

    Returns:
        None for fewer than two assets.

    Example:
        >>> matched_view_similarity(torch.eye(2).expand(3, 2, 2))
        1.0
    """
    if len(features) < 2:
        return None
    return sum(mean_pairwise_similarity(view) for view in features.unbind(dim=1)) / features.shape[1]


def similarity_matrix(features: Tensor) -> Tensor:
    """[A, V, D] features -> [A, A]: cosine similarity of every two assets, mean over their matched views.

    The mean of its off-diagonal equals `matched_view_similarity`.

    Raises:
        ValueError: a vector without direction or not finite.
    """
    assets, views, _ = features.shape
    unit = _unit(features.flatten(0, 1)).view(assets, -1)
    return unit @ unit.T / views


def _unit(features: Tensor) -> Tensor:
    if features.ndim != 2:
        raise ValueError(f"features must be [N, D], not {list(features.shape)}")
    wide = features.detach().double().cpu()
    if not torch.isfinite(wide).all() or (wide.norm(dim=-1) == 0).any():
        raise ValueError("features must be finite and have a direction")
    return F.normalize(wide, dim=-1, eps=0.0)
