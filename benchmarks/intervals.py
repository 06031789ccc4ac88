"""How often 95 % intervals over few assets hold the truth: percentile bootstrap, BCa, and what reports print.

    python benchmarks/intervals.py

Assets are points around a common direction in eight dimensions; the scores are a mean over assets (normal, and a skewed
one), the mean similarity of pairs, and the Vendi score. Percentile and BCa are SciPy's. Prints one line of JSON: the
share of intervals that hold what sets of that size score on average, by score, method and number of assets.
"""

import json
import warnings
from collections.abc import Callable

import numpy as np
import torch
import tyro
from scipy import stats

from dreamdist3d.eval.diversity import similarity_matrix, vendi_score
from dreamdist3d.eval.measure import vendi_estimate
from dreamdist3d.eval.statistics import AssetMean, Estimate, jackknife_mean, matched_similarity

SIZES = (4, 8, 16, 24)
METHODS = ("percentile", "BCa", "ours")


def similarity(features: torch.Tensor) -> float:
    """Of different assets alone: a copy is no pair with itself."""
    unique, counts = features.unique(dim=0, return_counts=True)
    return float(matched_similarity(unique[:, None]).weighted(counts[None]))


SCORES: dict[str, tuple[Callable[[torch.Tensor], float], Callable[[torch.Tensor], Estimate]]] = {
    "mean": (lambda x: float(x[:, 0].mean()), lambda x: jackknife_mean(AssetMean(x[:, 0]))),
    "skewed mean": (lambda x: float(x[:, 0].exp().mean()), lambda x: jackknife_mean(AssetMean(x[:, 0].exp()))),
    "similarity": (similarity, lambda x: jackknife_mean(matched_similarity(x[:, None]), -1.0, 1.0)),
    "vendi": (
        lambda x: vendi_score(similarity_matrix(x[:, None])),
        lambda x: vendi_estimate(similarity_matrix(x[:, None])),
    ),
}


def main(trials: int = 300, resamples: int = 300) -> None:
    """Count."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    found: dict[str, dict[str, dict[int, float]]] = {}
    for name, (score, ours) in SCORES.items():
        for count in SIZES:
            sets = [torch.randn(count, 8, generator=generator, dtype=torch.float64) + 0.5 for _ in range(trials)]
            truth = float(np.mean([score(one) for one in sets]))
            for method in METHODS:
                ends = [interval(one, method, score, ours, resamples) for one in sets]
                covered = np.mean([low <= truth <= high for low, high in ends])
                found.setdefault(name, {}).setdefault(method, {})[count] = round(float(covered), 2)
    print(json.dumps(found))


def interval(
    assets: torch.Tensor,
    method: str,
    score: Callable[[torch.Tensor], float],
    ours: Callable[[torch.Tensor], Estimate],
    resamples: int,
) -> tuple[float, float]:
    """The ends; nothing where a method gives up."""
    if method == "ours":
        estimate = ours(assets)
        return estimate.low, estimate.high
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of degenerate resamples
        result = stats.bootstrap(
            (np.arange(len(assets)),),
            lambda index: score(assets[torch.as_tensor(index)]),
            vectorized=False,
            method=method,
            n_resamples=resamples,
            random_state=0,
        )
    return tuple(result.confidence_interval)


if __name__ == "__main__":
    tyro.cli(main)
