"""How different the assets of a set are from each other, one measure a module."""

from dreamdist3d.eval.diversity.chamfer import chamfer_distances
from dreamdist3d.eval.diversity.color import hue_divergence, hue_entropy, hue_histograms
from dreamdist3d.eval.diversity.extent import extent_spread, extents
from dreamdist3d.eval.diversity.labels import inception_quality, inception_variance
from dreamdist3d.eval.diversity.lpips import lpips_distances
from dreamdist3d.eval.diversity.neighbours import Neighbours, near_duplicates, nearest_neighbours
from dreamdist3d.eval.diversity.silhouette import silhouette_distances
from dreamdist3d.eval.diversity.similarity import (
    SimilarityAccumulator,
    matched_view_similarity,
    mean_pairwise_similarity,
    similarity_matrix,
)
from dreamdist3d.eval.diversity.vendi import vendi_score
from dreamdist3d.eval.diversity.volume import volume_spread, volumes

__all__ = [
    "Neighbours",
    "SimilarityAccumulator",
    "chamfer_distances",
    "extent_spread",
    "extents",
    "hue_divergence",
    "hue_entropy",
    "hue_histograms",
    "inception_quality",
    "inception_variance",
    "lpips_distances",
    "matched_view_similarity",
    "mean_pairwise_similarity",
    "near_duplicates",
    "nearest_neighbours",
    "silhouette_distances",
    "similarity_matrix",
    "vendi_score",
    "volume_spread",
    "volumes",
]
