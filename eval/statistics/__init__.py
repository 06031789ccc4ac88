"""Intervals and tests over assets."""

from dreamdist3d.eval.statistics.estimate import Estimate, mean_of
from dreamdist3d.eval.statistics.intervals import VENDI, jackknife, jackknife_mean, share_of
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
    "VENDI",
    "cross_similarity",
    "jackknife",
    "jackknife_mean",
    "matched_similarity",
    "mean_of",
    "paired_permutation_test",
    "pooled_similarity",
    "share_of",
]
