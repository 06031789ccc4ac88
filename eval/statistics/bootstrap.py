"""How much a score would change with other assets of the same method: 95 % intervals over assets, never pictures.

Pictures of one asset are no independent evidence, so that a resample takes or leaves an asset with all its views.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from dreamdist3d.eval.statistics.estimate import Estimate
from dreamdist3d.eval.statistics.means import Mean

RESAMPLES = 2000
_FEWEST = 3  # of which a resample with replacement still says something


def bootstrap(mean: Mean, generator: torch.Generator, resamples: int = RESAMPLES) -> Estimate:
    """A mean over assets or their pairs with its interval: A assets drawn with replacement, again and again.

    Copies of one asset form no pair (see `PairMean`). Equal generators give equal intervals.

    Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979).

    Raises:
        ValueError: nothing to average: no asset, or no pair.

    Example:
        >>> from dreamdist3d.eval.statistics import AssetMean
        >>> estimate = bootstrap(AssetMean(torch.tensor([0.5, 0.5, 0.5])), torch.Generator().manual_seed(0))
        >>> estimate.as_dict()
        {'value': 0.5, 'low': 0.5, 'high': 0.5}
    """
    value = float(mean.weighted(torch.ones(1, mean.assets)))
    if value != value:
        raise ValueError(f"{mean.assets} assets are too few for this mean")
    if mean.assets < _FEWEST:
        return Estimate(value)
    drawn = torch.randint(mean.assets, (resamples, mean.assets), generator=generator)
    counts = torch.zeros(resamples, mean.assets).scatter_add_(1, drawn, torch.ones(drawn.shape))
    return Estimate.of(value, mean.weighted(counts))


def bootstrap_halves(
    measure: Callable[[Tensor], float],
    assets: int,
    generator: torch.Generator,
    lowest: float = 0.0,
    highest: float = math.inf,
    resamples: int = 500,
) -> Estimate:
    """The same for what is no mean: the Vendi score, nearest neighbours, coverage, spreads, entropies.

    There a copy of an asset is never harmless: it is its own nearest neighbour and adds nothing to the Vendi score.
    So each resample is half of the assets, drawn without repetition. Its deviations have the spread of the full
    sample's for smooth statistics, and `Estimate.of` puts their mean back on the value of the full set.

    Source: Saigo, Shao and Sitter, "A repeated half-sample bootstrap", Survey Methodology 27 (2001).

    Args:
        measure: takes int64 indices [N] of different assets, gives the score of that subset.
        assets: how many there are, A.
        lowest: the least the score can be (1 for the Vendi score), which no interval of few assets goes below.
        highest: the most it can be (A for the Vendi score).

    Returns:
        No interval for fewer than four assets, whose halves have no pairs.

    Example:
        >>> volumes = torch.tensor([1.0, 1.0, 1.0, 1.0])
        >>> bootstrap_halves(lambda index: float(volumes[index].std()), 4, torch.Generator().manual_seed(0)).as_dict()
        {'value': 0.0, 'low': 0.0, 'high': 0.0}
    """
    value = measure(torch.arange(assets))
    if assets < 4:
        return Estimate(value)
    half = assets // 2
    order = torch.rand(resamples, assets, generator=generator).argsort(dim=1)
    scores = torch.tensor([measure(row[:half].sort().values) for row in order], dtype=torch.float64)
    # An odd asset left out makes a half deviate a little more than the full sample does.
    estimate = Estimate.of(value, scores * (half / (assets - half)) ** 0.5)
    return replace(estimate, low=max(estimate.low, lowest), high=min(estimate.high, highest))
