"""Whether two sets differ by more than the luck of their draws."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamdist3d.eval.statistics.means import Mean

PERMUTATIONS = 9999


@dataclass(frozen=True)
class PermutationTest:
    """A difference, and how often luck alone makes one as large."""

    difference: float  # first set less second
    p_value: float  # two-sided, in (0, 1]
    permutations: int
    is_exact: bool  # every permutation was tried


def paired_permutation_test(
    means: Sequence[Mean], generator: torch.Generator, permutations: int = PERMUTATIONS
) -> PermutationTest:
    r"""Two-sided test that the sets of a pair of methods score alike, by swapping paired assets.

    Asset i of the first set and asset i of the second are a pair: made from the same seed, or in the same place of
    the same experiment. If the methods are alike, either of the two could have come from either method, so the
    difference

    .. math:: T = \frac{1}{G} \sum_g \left( m_g(\text{first}) - m_g(\text{second}) \right)

    is computed again with a random choice of the pairs swapped; p is the share of swaps with a difference at least
    as large, (1 + hits) / (1 + swaps) where they are drawn, exact where there are no more than `permutations` ways.
    The smallest p of n pairs is 2 / 2^n: four pairs cannot show p < 0.05. Source: Good, "Permutation, Parametric and
    Bootstrap Tests of Hypotheses", 2005, chapter 3.

    Args:
        means: one for each group (such as a family) over 2A assets, first the A of the first set, then their
            partners. For pairs it is `PairMean` of all 2A: swapping needs the similarity across the sets too.

    Raises:
        ValueError: no groups, an odd number of assets, or too few for the mean.

    Example:
        >>> from dreamdist3d.eval.statistics import AssetMean
        >>> scores = AssetMean(torch.tensor([0.9, 0.8, 0.7, 0.1, 0.2, 0.3]))
        >>> test = paired_permutation_test([scores], torch.Generator().manual_seed(0))
        >>> round(test.difference, 6), test.p_value, test.permutations, test.is_exact
        (0.6, 0.25, 8, True)
    """
    if not means or any(mean.assets % 2 or not mean.assets for mean in means):
        raise ValueError("a paired test needs groups of as many assets in the first set as in the second")
    pairs = sum(mean.assets // 2 for mean in means)
    is_exact = pairs < 60 and 2**pairs <= permutations
    swaps = _all_swaps(pairs) if is_exact else torch.randint(2, (permutations, pairs), generator=generator)
    observed = float(_differences(means, torch.zeros(1, pairs, dtype=torch.int64)))
    if observed != observed:
        raise ValueError("too few assets for this mean")
    # Sums in another order may differ in their last digits.
    hits = int((_differences(means, swaps).abs() >= abs(observed) - 1e-12).sum())
    p_value = hits / len(swaps) if is_exact else (1 + hits) / (1 + len(swaps))
    return PermutationTest(observed, p_value, len(swaps), is_exact)


def _differences(means: Sequence[Mean], swaps: Tensor) -> Tensor:
    """First less second, mean over groups, with the pairs of ones in [B, P] swapped: [B]."""
    parts = swaps.split([mean.assets // 2 for mean in means], dim=1)
    total = torch.zeros(len(swaps), dtype=torch.float64)
    for mean, part in zip(means, parts, strict=True):
        first = torch.cat([1 - part, part], dim=1)
        total += mean.weighted(first) - mean.weighted(1 - first)
    return total / len(means)


def _all_swaps(pairs: int) -> Tensor:
    return torch.arange(2**pairs)[:, None] >> torch.arange(pairs) & 1
