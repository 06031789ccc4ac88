"""What a classifier makes of pictures: is each one something, and are they different things?"""

import torch
from torch import Tensor


def inception_quality(
    probabilities: Tensor,  # [N, C]
) -> float:
    r"""IQ, the mean entropy of a classifier's answers, in nats, 0 to log C; lower: every picture is clearly something.

    .. math:: \mathrm{IQ} = \frac{1}{N} \sum_n H[p(y \mid x_n)]

    Source: Wang et al., "Taming Mode Collapse in Score Distillation for Text-to-3D Generation", CVPR 2024; of several
    objects together as in DiverseDream (Tran et al., ECCV 2024).

    Raises:
        ValueError: rows that are no probabilities.

    Example:
        >>> inception_quality(torch.eye(3)), round(inception_quality(torch.full((2, 4), 0.25)), 4)
        (0.0, 1.3863)
    """
    return float(torch.special.entr(_checked(probabilities)).sum(dim=1).mean())


def inception_variance(
    probabilities: Tensor,  # [N, C]
) -> float:
    r"""IV, the entropy of the mean of a classifier's answers, in nats, 0 to log C; higher: they are different things.

    .. math:: \mathrm{IV} = H\left[\frac{1}{N} \sum_n p(y \mid x_n)\right]

    It means something only beside `inception_quality`: pictures of nothing have both at their highest. Their difference
    is the logarithm of the Inception score. Source: as `inception_quality`.

    Raises:
        ValueError: rows that are no probabilities.

    Example:
        >>> round(inception_variance(torch.eye(4)), 4), inception_variance(torch.eye(4)[:1].expand(5, 4))
        (1.3863, 0.0)
    """
    return float(torch.special.entr(_checked(probabilities).mean(dim=0)).sum())


def _checked(probabilities: Tensor) -> Tensor:
    values = probabilities.double()
    if values.ndim != 2 or not len(values) or (values < 0).any() or ((values.sum(dim=1) - 1).abs() > 1e-4).any():
        raise ValueError("a classifier's answers are rows of probabilities, at least one")
    return values
