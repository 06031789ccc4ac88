"""Scoring sets of assets: how different from each other, and how faithful to the references."""

from dreamdist3d.eval.diversity import (
    SimilarityAccumulator,
    matched_view_similarity,
    mean_pairwise_similarity,
    similarity_matrix,
)
from dreamdist3d.eval.evaluate import evaluate
from dreamdist3d.eval.features import ImageEncoder, MiniClip, MiniDino
from dreamdist3d.eval.fidelity import Fidelity, reference_similarity
from dreamdist3d.eval.renders import render_views

__all__ = [
    "Fidelity",
    "ImageEncoder",
    "MiniClip",
    "MiniDino",
    "SimilarityAccumulator",
    "evaluate",
    "matched_view_similarity",
    "mean_pairwise_similarity",
    "reference_similarity",
    "render_views",
    "similarity_matrix",
]
