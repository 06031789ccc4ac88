"""All scores of one set of assets, each with its interval; what cannot be measured becomes a note."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import trimesh
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.eval.diversity import (
    chamfer_distances,
    extent_spread,
    extents,
    hue_divergence,
    hue_entropy,
    hue_histograms,
    nearest_neighbours,
    silhouette_distances,
    similarity_matrix,
    vendi_score,
    volume_spread,
    volumes,
)
from dreamdist3d.eval.fidelity import agreement, frechet_distance, inside_balls, reference_similarity, text_similarity
from dreamdist3d.eval.fidelity.manifold import NEAREST
from dreamdist3d.eval.flags import foreground
from dreamdist3d.eval.load import LoadedSet
from dreamdist3d.eval.metrics import METRICS, Score
from dreamdist3d.eval.statistics import (
    VENDI,
    AssetMean,
    Estimate,
    Mean,
    PairMean,
    jackknife,
    jackknife_mean,
    matched_similarity,
    pooled_similarity,
    share_of,
)

SEED = 0  # of permutations and of KID: the same assets give the same tests


@dataclass(frozen=True, eq=False)
class Seen:
    """What a judge makes of a set."""

    judge: str
    features: Tensor  # [A, V, D]
    references: Tensor | None  # [R, D]
    text: Tensor | None  # [D]
    own: Tensor | None = None  # [A, V, D], of the draws' own first views


@dataclass
class Scores:
    """The scores of one set, and why some are missing."""

    found: list[Score] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, metric: str, judge: str | None, measure: Callable[[], Estimate]) -> None:
        """Keep the score, or the reason why there is none."""
        try:
            self.found.append(Score(metric, judge, measure()))
        except (UserError, ValueError) as error:
            note = f"{metric}{f' ({judge})' if judge else ''}: {error}"
            if note not in self.notes:
                self.notes.append(note)


def means(seen: Seen) -> Iterator[tuple[str, Mean]]:
    """The scores that are means over assets or pairs, which can be tested between sets: (metric, mean)."""
    yield "pooled", pooled_similarity(seen.features)
    yield "matched", matched_similarity(seen.features)
    if seen.references is not None:
        yield "to_references", AssetMean(reference_similarity(seen.features, seen.references).per_asset)
    if seen.own is not None:
        yield "agreement", AssetMean(agreement(seen.features, seen.own))
    if seen.text is not None:
        yield "to_text", AssetMean(text_similarity(seen.features, seen.text))


def measure_features(seen: Seen, scores: Scores) -> None:
    """Diversity and fidelity under one judge."""
    for metric, mean in means(seen):
        if mean.assets >= 2 or METRICS[metric].side == "fidelity":
            scores.add(metric, seen.judge, partial(jackknife_mean, mean, -1.0, 1.0))
    matrix = similarity_matrix(seen.features)
    count = len(matrix)
    if count >= 2:
        scores.add("vendi", seen.judge, lambda: vendi_estimate(matrix))
        scores.add("nearest_distance", seen.judge, lambda: jackknife(lambda i: _nearest(matrix[i][:, i]), count, 0, 2))
    if seen.references is not None:
        _measure_manifold(seen.references, seen, scores)


def measure_pictures(loaded: LoadedSet, scores: Scores) -> None:
    """Shape and colour, which need no judge; nothing for a single asset."""
    masks, count = foreground(loaded.views), len(loaded.views)
    if count < 2:
        return
    outlines = PairMean(silhouette_distances(torch.from_numpy(masks)))
    scores.add("silhouette", None, lambda: jackknife_mean(outlines, lowest=0.0))
    hues = hue_histograms(loaded.views, masks)
    scores.add("hue_entropy", None, lambda: jackknife(lambda i: hue_entropy(hues[i]), count, 0))
    scores.add("hue_divergence", None, lambda: jackknife(lambda i: hue_divergence(hues[i]), count, 0))
    if loaded.meshes is not None:
        _measure_meshes(loaded.meshes, scores)


def _measure_meshes(meshes: Sequence[trimesh.Trimesh], scores: Scores) -> None:
    sizes, contents, count = extents(meshes), volumes(meshes), len(meshes)
    scores.add("chamfer", None, lambda: jackknife_mean(PairMean(chamfer_distances(meshes)), lowest=0.0))
    scores.add("extent_spread", None, lambda: jackknife(lambda i: extent_spread(sizes[i.numpy()]), count, 0))
    scores.add("volume_spread", None, lambda: jackknife(lambda i: _volume_spread(contents[i.numpy()], count), count, 0))


def _volume_spread(contents: np.ndarray, count: int) -> float:
    """What is left without one asset may hold no two closed meshes, and there is no interval; the whole set must."""
    if len(contents) < count and np.isfinite(contents).sum() < 2:
        return float("nan")
    return volume_spread(contents)


def _measure_manifold(references: Tensor, seen: Seen, scores: Scores) -> None:
    """Density is a mean over assets; the others are shares, of pictures or of references."""
    features, judge = seen.features, seen.judge
    assets, views, _ = features.shape

    def balls() -> Tensor:  # bool [R, A, V]
        return inside_balls(references, features.flatten(0, 1)).view(-1, assets, views)

    def density() -> Estimate:
        return jackknife_mean(AssetMean(balls().sum(dim=0).double().mean(dim=-1) / NEAREST), lowest=0.0)

    scores.add("density", judge, density)
    scores.add("precision", judge, lambda: share_of(_share(balls().any(dim=0)), assets))
    scores.add("coverage", judge, lambda: share_of(_share(balls().flatten(1).any(dim=1)), assets))
    scores.add("recall", judge, lambda: share_of(_recall(references, features), assets))
    scores.add("frechet", judge, lambda: Estimate(frechet_distance(references, features.flatten(0, 1))))


def vendi_estimate(matrix: Tensor) -> Estimate:
    """The Vendi score of a similarity matrix [A, A] with its interval over assets."""
    count = len(matrix)
    return jackknife(lambda index: vendi_score(matrix[index][:, index]), count, 1.0, count, VENDI)


def _recall(references: Tensor, features: Tensor) -> float:
    return _share(inside_balls(features.flatten(0, 1), references).any(dim=0))


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())


def _nearest(matrix: Tensor) -> float:
    return float(nearest_neighbours(matrix).distance.mean())
