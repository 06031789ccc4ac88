"""Mean pairwise cosine similarity inside a set: lower is more diverse."""

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 16384  # so many at a time that beginning an operation costs next to nothing
_BLOCK = 64  # rows added in single precision: identical rows, the worst case, come out within 2e-7
_EASY = (1e-15, 1e15)  # lengths whose squares single precision holds without loss


class SimilarityAccumulator:
    r"""Mean cosine similarity over all pairs of a stream of features, without ever forming a pair.

    For unit vectors :math:`x_1 \dots x_N` (DreamDistribution, appendix C.9, Table 4)

    .. math:: \frac{2}{N(N-1)} \sum_{i<j} \langle x_i, x_j \rangle
              = \frac{\lVert \sum_i x_i \rVert^2 - N}{N(N-1)}

    O(N d) time and O(d) memory, accumulated in float64; accumulators of different machines merge.

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

        Float64 features are worked on in float64. Narrower ones are normalised in float32, which keeps the mean
        within 1e-6 of the double loop's.

        Raises:
            ValueError: not [N, D], another D than before, a vector without direction or not finite.
        """
        if features.ndim != 2:
            raise ValueError(f"features must be [N, D], not {list(features.shape)}")
        if self._sum is not None and features.shape[1] != len(self._sum):
            raise ValueError(f"features have {features.shape[1]} numbers, those before had {len(self._sum)}")
        total = torch.zeros(features.shape[1], dtype=torch.float64)
        if len(features):
            for chunk in features.detach().split(_ROWS):
                total += _sum_of_directions(chunk)
        self._sum = total if self._sum is None else self._sum + total
        self.count += len(features)

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

    Of a set's renders all together this is the protocol of DreamDistribution's Table 4 ("average pairwise cosine
    similarity of features within each image set", appendix C.9), called pooled in our reports.

    Example:
        >>> mean_pairwise_similarity(torch.eye(3, dtype=torch.float64))
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
        >>> matched_view_similarity(torch.eye(2, dtype=torch.float64).expand(3, 2, 2))
        1.0
    """
    if len(features) < 2:
        return None
    # Never None: every view has as many assets.
    views = [mean_pairwise_similarity(view) for view in features.unbind(dim=1)]
    return sum(similarity for similarity in views if similarity is not None) / len(views)


def similarity_matrix(features: Tensor) -> Tensor:
    """[A, V, D] features -> [A, A]: cosine similarity of every two assets, mean over their matched views.

    The mean of its off-diagonal equals `matched_view_similarity`.

    Raises:
        ValueError: a vector without direction or not finite.

    Example:
        >>> similarity_matrix(torch.eye(2)[:, None]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    assets, views, _ = features.shape
    unit = unit_vectors(features.flatten(0, 1)).view(assets, -1)
    return unit @ unit.T / views


def unit_vectors(features: Tensor) -> Tensor:
    """[N, D] features as float64 unit vectors on the CPU.

    Raises:
        ValueError: not [N, D], a vector without direction or not finite.

    Example:
        >>> unit_vectors(torch.tensor([[3.0, 4.0]])).tolist()
        [[0.6, 0.8]]
    """
    if features.ndim != 2:
        raise ValueError(f"features must be [N, D], not {list(features.shape)}")
    wide = features.detach().double().cpu()
    if not torch.isfinite(wide).all() or (wide.norm(dim=-1) == 0).any():
        raise ValueError("features must be finite and have a direction")
    return F.normalize(wide, dim=-1, eps=0.0)


def _sum_of_directions(chunk: Tensor) -> Tensor:
    """The sum of [N, D] vectors, each divided by its length: float64 [D]."""
    if chunk.dtype != torch.float64:
        narrow = chunk.float().cpu()
        length = torch.linalg.vector_norm(narrow, dim=1)
        shortest, longest = length.aminmax()
        if _EASY[0] < shortest and longest < _EASY[1]:
            return _weighted_sum(narrow, length.reciprocal_())
    return unit_vectors(chunk).sum(dim=0)


def _weighted_sum(rows: Tensor, weights: Tensor) -> Tensor:
    """float32 [N, D] and [N] -> float64 [D]: blocks of rows in single precision, their sums in double."""
    whole = len(rows) // _BLOCK * _BLOCK
    blocks = torch.bmm(weights[:whole].view(-1, 1, _BLOCK), rows[:whole].view(-1, _BLOCK, rows.shape[1]))
    return blocks.sum(dim=(0, 1), dtype=torch.float64) + weights[whole:] @ rows[whole:]
