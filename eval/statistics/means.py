"""Means over the assets of a set, and over their pairs, that can be taken again with any asset counted any often."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dreamdist3d.eval.diversity.similarity import similarity_matrix, unit_vectors


class Mean(Protocol):
    """A mean over A assets."""

    @property
    def assets(self) -> int:
        """A."""

    def weighted(self, counts: Tensor) -> Tensor:
        """The mean with asset a counted counts[b, a] times: [B, A] -> [B], nan where there is nothing to average."""


@dataclass(frozen=True, eq=False)
class AssetMean:
    """A mean over assets, such as their similarity to the references."""

    values: Tensor  # [A]

    @property
    def assets(self) -> int:
        """A."""
        return len(self.values)

    def weighted(self, counts: Tensor) -> Tensor:
        """[B, A] -> [B].

        Example:
            >>> AssetMean(torch.tensor([1.0, 4.0])).weighted(torch.tensor([[1, 1], [2, 1]])).tolist()
            [2.5, 2.0]
        """
        weights = counts.double()
        return weights @ self.values.double() / weights.sum(dim=1)


@dataclass(frozen=True, eq=False)
class PairMean:
    r"""A mean over pairs of assets, such as their similarity or distance.

    An asset that is counted twice is not a pair with itself: its similarity of 1 to its own copy says nothing of the
    set, and would make every resample look less diverse than the set is. With multiplicities m,

    .. math:: \frac{\sum_{a<b} m_a m_b s_{ab} + w \sum_a m_a t_a}{\sum_{a<b} m_a m_b + w \sum_a m_a}

    where t are the means over pairs of pictures inside an asset and w is their number for each pair of pictures of
    two assets; both are 0 unless pictures are pooled.
    """

    between: Tensor  # [A, A] symmetric; the diagonal is not looked at
    inside: Tensor | None = None  # [A]
    inside_weight: float = 0.0

    @property
    def assets(self) -> int:
        """A."""
        return len(self.between)

    def weighted(self, counts: Tensor) -> Tensor:
        """[B, A] -> [B].

        Example:
            >>> mean = PairMean(torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.25], [0.5, 0.25, 1.0]]))
            >>> mean.weighted(torch.tensor([[1, 1, 1], [1, 0, 2]])).tolist()
            [0.25, 0.5]
        """
        weights = counts.double()
        others = self.between.double().clone().fill_diagonal_(0.0)
        total = ((weights @ others) * weights).sum(dim=1) / 2
        pairs = (weights.sum(dim=1).square() - weights.square().sum(dim=1)) / 2
        if self.inside is not None:
            total = total + self.inside_weight * (weights @ self.inside.double())
            pairs = pairs + self.inside_weight * weights.sum(dim=1)
        return total / pairs


def matched_similarity(features: Tensor) -> PairMean:
    """[A, V, D]: the mean is `matched_view_similarity`.

    Example:
        >>> matched_similarity(torch.eye(2)[:, None]).weighted(torch.ones(1, 2)).tolist()
        [0.0]
    """
    return PairMean(similarity_matrix(features))


def cross_similarity(features: Tensor) -> PairMean:
    """[A, V, D]: the mean similarity of pictures of different assets, from whichever side.

    Example:
        >>> cross_similarity(torch.eye(2).expand(3, 2, 2)).weighted(torch.ones(1, 3)).tolist()
        [0.5]
    """
    assets, views, _ = features.shape
    centres = unit_vectors(features.flatten(0, 1)).view(assets, views, -1).mean(dim=1)
    return PairMean(centres @ centres.T)


def pooled_similarity(features: Tensor) -> PairMean:
    """[A, V, D]: the mean is `mean_pairwise_similarity` of all A V pictures, the protocol of Table 4.

    Example:
        >>> mean = pooled_similarity(torch.eye(2).expand(3, 2, 2))
        >>> round(float(mean.weighted(torch.ones(1, 3))), 6)
        0.4
    """
    between = cross_similarity(features).between
    views = features.shape[1]
    if views == 1:
        return PairMean(between)
    inside = (between.diagonal() * views - 1.0) / (views - 1)
    return PairMean(between, inside, (views - 1) / (2 * views))
