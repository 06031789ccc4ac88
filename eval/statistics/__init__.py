"""Intervals and tests over assets."""

from dreamdist3d.eval.statistics.bootstrap import bootstrap, bootstrap_halves
from dreamdist3d.eval.statistics.estimate import Estimate, mean_of
from dreamdist3d.eval.statistics.means import (
    AssetMean,
    Mean,
    PairMean,
    cross_similarity,
    matched_similarity,
    pooled_similarity,
)
from dreamdist3d.eval.statistics.permutation import PermutationTest, paired_permutation_test

__all__ = [
    "AssetMean",
    "Estimate",
    "Mean",
    "PairMean",
    "PermutationTest",
    "bootstrap",
    "bootstrap_halves",
    "cross_similarity",
    "matched_similarity",
    "mean_of",
    "paired_permutation_test",
    "pooled_similarity",
]
