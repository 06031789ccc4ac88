"""Scoring sets of assets: how different from each other, and how faithful to the references."""

from dreamdist3d.eval.diversity import (
    SimilarityAccumulator,
    matched_view_similarity,
    mean_pairwise_similarity,
    similarity_matrix,
)
from dreamdist3d.eval.evaluate import evaluate
from dreamdist3d.eval.features import FeatureCache, ImageEncoder, MiniClip, MiniDino, load_encoders
from dreamdist3d.eval.fidelity import Fidelity, reference_similarity
from dreamdist3d.eval.renders import render_views
from dreamdist3d.eval.statistics import Estimate, jackknife, jackknife_mean, paired_permutation_test

__all__ = [
    "Estimate",
    "FeatureCache",
    "Fidelity",
    "ImageEncoder",
    "MiniClip",
    "MiniDino",
    "SimilarityAccumulator",
    "evaluate",
    "jackknife",
    "jackknife_mean",
    "load_encoders",
    "matched_view_similarity",
    "mean_pairwise_similarity",
    "paired_permutation_test",
    "reference_similarity",
    "render_views",
    "similarity_matrix",
]
