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
from dreamdist3d.eval.fidelity import frechet_distance, inside_balls, reference_similarity, text_similarity
from dreamdist3d.eval.fidelity.manifold import NEAREST
from dreamdist3d.eval.flags import foreground
from dreamdist3d.eval.load import LoadedSet
from dreamdist3d.eval.metrics import Score
from dreamdist3d.eval.statistics import (
    AssetMean,
    Estimate,
    Mean,
    PairMean,
    bootstrap,
    bootstrap_halves,
    matched_similarity,
    pooled_similarity,
)

SEED = 0  # of the resamples: the same assets give the same intervals


@dataclass(frozen=True, eq=False)
class Seen:
    """What a judge makes of a set."""

    judge: str
    features: Tensor  # [A, V, D]
    references: Tensor | None  # [R, D]
    text: Tensor | None  # [D]


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
    if seen.text is not None:
        yield "to_text", AssetMean(text_similarity(seen.features, seen.text))


def measure_features(seen: Seen, scores: Scores) -> None:
    """Diversity and fidelity under one judge."""
    for metric, mean in means(seen):
        if mean.assets >= 2 or metric.startswith("to_"):
            scores.add(metric, seen.judge, partial(bootstrap, mean, _generator()))
    matrix = similarity_matrix(seen.features)
    count = len(matrix)
    if count >= 2:
        scores.add("vendi", seen.judge, lambda: _halves(lambda i: vendi_score(matrix[i][:, i]), count, 1.0, count))
        scores.add(
            "nearest_distance", seen.judge, lambda: _halves(lambda i: _nearest(matrix[i][:, i]), count, 0.0, 2.0)
        )
    if seen.references is not None:
        _measure_manifold(seen.references, seen, scores)


def measure_pictures(loaded: LoadedSet, scores: Scores) -> None:
    """Shape and colour, which need no judge; nothing for a single asset."""
    masks, count = foreground(loaded.views), len(loaded.views)
    if count < 2:
        return
    outlines = PairMean(silhouette_distances(torch.from_numpy(masks)))
    scores.add("silhouette", None, lambda: bootstrap(outlines, _generator()))
    hues = hue_histograms(loaded.views, masks)
    scores.add("hue_entropy", None, lambda: _halves(lambda i: hue_entropy(hues[i]), count))
    scores.add("hue_divergence", None, lambda: _halves(lambda i: hue_divergence(hues[i]), count))
    if loaded.meshes is not None:
        _measure_meshes(loaded.meshes, scores)


def _measure_meshes(meshes: Sequence[trimesh.Trimesh], scores: Scores) -> None:
    sizes, contents, count = extents(meshes), volumes(meshes), len(meshes)
    scores.add("chamfer", None, lambda: bootstrap(PairMean(chamfer_distances(meshes)), _generator()))
    scores.add("extent_spread", None, lambda: _halves(lambda i: extent_spread(sizes[i.numpy()]), count))
    scores.add("volume_spread", None, lambda: _halves(lambda i: _volume_spread(contents[i.numpy()], count), count))


def _volume_spread(contents: np.ndarray, count: int) -> float:
    """A half of the assets may hold no two closed meshes, and is left out; the whole set must."""
    if len(contents) < count and np.isfinite(contents).sum() < 2:
        return float("nan")
    return volume_spread(contents)


def _measure_manifold(references: Tensor, seen: Seen, scores: Scores) -> None:
    """Density and precision are means over assets; coverage and recall look at all pictures together."""
    features, judge = seen.features, seen.judge
    assets, views, _ = features.shape

    def balls() -> Tensor:  # bool [R, A, V]
        return inside_balls(references, features.flatten(0, 1)).view(-1, assets, views)

    def per_asset(hits: Tensor) -> Estimate:
        return bootstrap(AssetMean(hits.double().mean(dim=-1)), _generator())

    scores.add("density", judge, lambda: per_asset(balls().sum(dim=0) / NEAREST))
    scores.add("precision", judge, lambda: per_asset(balls().any(dim=0)))
    scores.add("coverage", judge, lambda: _covered(balls(), assets))
    scores.add("recall", judge, lambda: _halves(lambda i: _recall(references, features[i]), assets, 0.0, 1.0))
    scores.add("frechet", judge, lambda: Estimate(frechet_distance(references, features.flatten(0, 1))))


def _covered(inside: Tensor, assets: int) -> Estimate:
    return _halves(lambda i: float(inside[:, i].flatten(1).any(dim=1).double().mean()), assets, 0.0, 1.0)


def _recall(references: Tensor, features: Tensor) -> float:
    return float(inside_balls(features.flatten(0, 1), references).any(dim=0).double().mean())


def _nearest(matrix: Tensor) -> float:
    return float(nearest_neighbours(matrix).distance.mean())


def _halves(measure: Callable[[Tensor], float], count: int, low: float = 0.0, high: float = float("inf")) -> Estimate:
    return bootstrap_halves(measure, count, _generator(), low, high)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)
