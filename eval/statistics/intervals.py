"""How much a score would change with other assets of the same method: 95 % intervals over assets, never pictures.

Pictures of one asset are no independent evidence, so that an asset is left out with all its views. Sets are small, 4 to
24 assets, and there bootstrap intervals, BCa too, promise too much (`benchmarks/intervals.py` counts). Student's t does
what it says for means, and the jackknife (leave one asset out, then the next) brings it to everything else.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamdist3d.eval.statistics.estimate import Estimate, quantile
from dreamdist3d.eval.statistics.means import Mean

FEWEST = 3  # assets of which an interval still says something
_EDGE = 1e-9


@dataclass(frozen=True)
class Scale:
    """Where a score's errors are even, if not on its own scale: functions of (score, number of assets) and back."""

    to: Callable[[float, int], float] = lambda score, assets: score
    back: Callable[[float, int], float] = lambda position, assets: position


def _logit(score: float, assets: int) -> float:
    share = min(max((score - 1.0) / (assets - 1.0), _EDGE), 1.0 - _EDGE)
    return math.log(share / (1.0 - share))


def _unlogit(position: float, assets: int) -> float:
    return 1.0 + (assets - 1.0) / (1.0 + math.exp(-position))


EVEN = Scale()
VENDI = Scale(_logit, _unlogit)
"""Of a Vendi score, which lies between 1 and the number of assets: the log odds of its place between them."""


def jackknife(
    measure: Callable[[Tensor], float],
    assets: int,
    lowest: float = -math.inf,
    highest: float = math.inf,
    scale: Scale = EVEN,
) -> Estimate:
    r"""A score of A assets with its interval: the spread of the scores :math:`\theta_{-a}` without one of them.

    .. math:: \mathrm{SE}^2 = \frac{A - 1}{A} \sum_a (\theta_{-a} - \bar\theta)^2,
              \quad \theta \pm t_{A-1} \, \mathrm{SE}

    Source: Tukey, "Bias and confidence in not quite large samples", Annals of Mathematical Statistics 29 (1958).

    Args:
        measure: takes int64 indices [N] of different assets, gives the score of that subset.
        assets: how many there are, A.
        lowest, highest: what the score cannot be less or more than.
        scale: where the interval is made.

    Returns:
        No interval for fewer than three assets, or where a subset has no score (nan).

    Example:
        >>> values = torch.tensor([1.0, 1.0, 1.0, 1.0])
        >>> jackknife(lambda index: float(values[index].std()), 4).as_dict()
        {'value': 0.0, 'low': 0.0, 'high': 0.0}
    """
    everything = torch.arange(assets)
    value = measure(everything)
    if assets < FEWEST:
        return Estimate(value, lowest=lowest, highest=highest)
    without = [measure(everything[everything != one]) for one in range(assets)]
    return _interval(value, without, assets, lowest, highest, scale)


def jackknife_mean(mean: Mean, lowest: float = -math.inf, highest: float = math.inf) -> Estimate:
    """The same for a mean over assets, where it is Student's t interval, or over their pairs.

    Raises:
        ValueError: nothing to average: no asset, or no pair.

    Example:
        >>> from dreamdist3d.eval.statistics import AssetMean
        >>> found = jackknife_mean(AssetMean(torch.tensor([1.0, 2.0, 3.0])))
        >>> round(found.low, 3), found.value, round(found.high, 3)
        (-0.484, 2.0, 4.484)
    """
    count = mean.assets
    value = float(mean.weighted(torch.ones(1, count)))
    if value != value:
        raise ValueError(f"{count} assets are too few for this mean")
    if count < FEWEST:
        return Estimate(value, lowest=lowest, highest=highest)
    without = mean.weighted(torch.ones(count, count) - torch.eye(count)).tolist()
    return _interval(value, without, count, lowest, highest, EVEN)


def share_of(value: float, assets: int) -> Estimate:
    """A share in [0, 1] over pictures or references with an interval that stays there: Wilson's, with t for z.

    The A assets count as A trials, however many pictures they have. No share can vary more between assets than that,
    so that the interval is at least as wide as it must be; and it does not shrink to a point where all assets are in.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Example:
        >>> found = share_of(1.0, 8)
        >>> round(found.low, 3), found.high
        (0.589, 1.0)
    """
    if assets < FEWEST:
        return Estimate(value, lowest=0.0, highest=1.0)
    reach = quantile(assets - 1)
    shrink = 1.0 + reach**2 / assets
    middle = (value + reach**2 / (2 * assets)) / shrink
    half = reach / shrink * math.sqrt(value * (1.0 - value) / assets + reach**2 / (4 * assets**2))
    low, high = max(0.0, min(middle - half, value)), min(1.0, max(middle + half, value))
    return Estimate(value, low, high, half / reach, assets - 1, 0.0, 1.0)


def _interval(value: float, without: list[float], assets: int, lowest: float, highest: float, scale: Scale) -> Estimate:
    places = [scale.to(score, assets - 1) for score in without]
    if not all(map(math.isfinite, places)):
        return Estimate(value, lowest=lowest, highest=highest)
    middle = sum(places) / assets
    error = math.sqrt((assets - 1) / assets * sum((place - middle) ** 2 for place in places))
    if scale is EVEN:
        return Estimate.of(value, error, assets - 1, lowest, highest)
    reach, here = quantile(assets - 1), scale.to(value, assets)
    low, high = (scale.back(here + side * reach * error, assets) for side in (-1, 1))
    low, high = max(min(low, value), lowest), min(max(high, value), highest)
    return Estimate(value, low, high, (high - low) / (2 * reach), assets - 1, lowest, highest)
