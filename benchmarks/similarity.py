"""Mean pairwise similarity of a million features: one pass, against copying them and against all pairs.

    python benchmarks/similarity.py

The pass and the copy alternate, and the best of each counts, so that other work on the machine spoils neither alone.
Both use all threads. Rates are gigabytes of features per second, which a copy reads and writes and the pass only
reads; `share_of_copy_traffic` counts the copy's bytes twice therefore.
All pairs are timed on 20,000 rows, block by block with matrix products, and extrapolated by the square of the number.
Prints one JSON line.
"""

import json
import time
from collections.abc import Callable

import torch
import tyro
from torch import Tensor

from dreamdist3d.eval.diversity import SimilarityAccumulator

_BLOCK = 1000


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def random_features(rows: int, width: int) -> Tensor:
    """float32 [rows, width] around a common direction."""
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(0)).add_(0.2)


def one_pass(features: Tensor) -> float:
    """The mean by the identity."""
    accumulator = SimilarityAccumulator()
    accumulator.update(features)
    return accumulator.compute()


def all_pairs(features: Tensor) -> float:
    """The mean by every pair."""
    unit = torch.nn.functional.normalize(features, dim=1)
    total = sum(float((block @ unit.T).sum(dtype=torch.float64)) for block in unit.split(_BLOCK))
    return (total - len(unit)) / (len(unit) * (len(unit) - 1))


def main(rows: int = 1_000_000, width: int = 512, brute_rows: int = 20_000, repeats: int = 7) -> None:
    """Time the three and print one JSON line."""
    features = random_features(rows, width)
    copied = torch.zeros_like(features)
    times = [(seconds(lambda: copied.copy_(features)), seconds(lambda: one_pass(features))) for _ in range(repeats)]
    copy_s, pass_s = (min(column) for column in zip(*times, strict=True))
    few = features[:brute_rows]
    brute_s = seconds(lambda: all_pairs(few))
    gigabytes = features.nbytes / 1e9
    results = {
        "rows": rows,
        "width": width,
        "threads": torch.get_num_threads(),
        "pass_s": round(pass_s, 3),
        "copy_s": round(copy_s, 3),
        "pass_gb_s": round(gigabytes / pass_s, 2),
        "copy_gb_s": round(gigabytes / copy_s, 2),
        "share_of_copy": round(copy_s / pass_s, 3),
        "share_of_copy_traffic": round(copy_s / pass_s / 2, 3),
        "brute_rows": brute_rows,
        "brute_s": round(brute_s, 2),
        "brute_extrapolated_s": round(brute_s * (rows / brute_rows) ** 2),
        "difference_on_brute_rows": abs(one_pass(few) - all_pairs(few)),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    tyro.cli(main)
