"""Sets beside each other: which differences are more than the luck of the draws."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch

from dreamdist3d.eval.load import LoadedSet
from dreamdist3d.eval.measure import SEED, Seen, means
from dreamdist3d.eval.statistics import paired_permutation_test


def compare_sets(loaded: Sequence[LoadedSet], seen: Sequence[Sequence[Seen]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Paired permutation tests of every two sets, asset i against asset i, and why some were not made.

    Args:
        loaded: the sets.
        seen: what each judge makes of each of them: [set][judge].
    """
    rows, notes = [], []
    for first, second in combinations(range(len(loaded)), 2):
        if reason := _unpaired(loaded[first], loaded[second]):
            notes.append(reason)
            continue
        names = {"first": loaded[first].entry.name, "second": loaded[second].entry.name}
        for one, other in zip(seen[first], seen[second], strict=True):
            rows += [names | row for row in compare(one, other)]
    return rows, notes


def compare(first: Seen, second: Seen) -> list[dict[str, Any]]:
    """The tests of two sets under one judge."""
    joint = Seen(first.judge, torch.cat([first.features, second.features]), first.references, first.text)
    rows = []
    for metric, mean in means(joint):
        if mean.assets < 4 and not metric.startswith("to_"):
            continue  # one asset a set forms no pair
        test = paired_permutation_test([mean], torch.Generator().manual_seed(SEED))
        rows.append(
            {
                "metric": metric,
                "judge": first.judge,
                "difference": round(test.difference, 6),
                "p_value": test.p_value,
                "permutations": test.permutations,
                "is_exact": test.is_exact,
            }
        )
    return rows


def _unpaired(first: LoadedSet, second: LoadedSet) -> str | None:
    names = f"{first.entry.name} and {second.entry.name} are not tested against each other: "
    if len(first.views) != len(second.views):
        return names + f"{len(first.views)} and {len(second.views)} assets form no pairs."
    if first.view_names != second.view_names:
        return names + "their views have different names."
    return None
