"""Precision, recall, density and coverage: do the pictures lie where the references do, and all over it?"""

from dataclasses import dataclass

import torch
from torch import Tensor

NEAREST = 5  # Naeem et al.


@dataclass(frozen=True)
class Prdc:
    """How two sets of features cover each other."""

    precision: float  # in [0, 1], share of pictures inside some reference's ball
    recall: float  # in [0, 1], share of references inside some picture's ball
    density: float  # 0 or more, mean number of references' balls around a picture, over k; 1 for equal distributions
    coverage: float  # in [0, 1], share of references whose ball holds a picture


def prdc(
    references: Tensor,  # [R, D]
    features: Tensor,  # [N, D]
    nearest: int = NEAREST,
) -> Prdc:
    r"""The four k-nearest-neighbour scores, equal to those of the package `prdc`.

    The ball of a point is open and reaches its k-th nearest neighbour in its own set. With R references
    :math:`x_i`, N pictures :math:`y_j` and balls :math:`B(\cdot)`,

    .. math:: \text{density} = \frac{1}{kN} \sum_j \sum_i 1[y_j \in B(x_i)], \quad
              \text{coverage} = \frac{1}{R} \sum_i 1[\exists j: y_j \in B(x_i)]

    Sources: Kynkäänniemi et al., "Improved precision and recall metric", NeurIPS 2019 (precision, recall);
    Naeem et al., "Reliable fidelity and diversity metrics", ICML 2020 (density, coverage).

    Raises:
        ValueError: k or fewer references or pictures: there is no k-th neighbour.

    Example:
        >>> points = torch.arange(8.0)[:, None]
        >>> prdc(points, points, nearest=2)
        Prdc(precision=1.0, recall=1.0, density=0.625, coverage=1.0)
    """
    inside = inside_balls(references, features, nearest)
    reverse = inside_balls(features, references, nearest)
    return Prdc(
        precision=_share(inside.any(dim=0)),
        recall=_share(reverse.any(dim=0)),
        density=float(inside.sum()) / (nearest * len(features)),
        coverage=_share(inside.any(dim=1)),
    )


def inside_balls(
    references: Tensor,  # [R, D]
    features: Tensor,  # [N, D]
    nearest: int = NEAREST,
) -> Tensor:
    """Which pictures lie in which reference's k-nearest-neighbour ball: bool [R, N].

    Column means over `nearest` are each picture's part of the density, and `any` over the columns its part of the
    precision: what an interval over assets needs.

    Raises:
        ValueError: k or fewer references.

    Example:
        >>> inside_balls(torch.arange(3.0)[:, None], torch.tensor([[0.5], [9.0]]), nearest=1).tolist()
        [[True, False], [True, False], [False, False]]
    """
    if len(references) <= nearest:
        raise ValueError(f"{len(references)} points have no {nearest}-th nearest neighbour; k + 1 or more are needed")
    # Each point is its own nearest.
    radius = _distances(references, references).kthvalue(nearest + 1, dim=1).values
    return _distances(references, features) < radius[:, None]


def _distances(first: Tensor, second: Tensor) -> Tensor:
    """Without the usual detour over inner products, which loses half of the digits of small distances."""
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(first.double().cpu(), second.double().cpu(), compute_mode=exact)


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())
