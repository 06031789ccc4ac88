"""All numbers of one set of assets, as plain values for JSON."""

from typing import Any

from torch import Tensor

from dreamdist3d.eval.diversity import matched_view_similarity, mean_pairwise_similarity, similarity_matrix
from dreamdist3d.eval.fidelity import reference_similarity


def measure(
    features: Tensor,  # [A, V, D]
    references: Tensor | None,  # [R, D]
    reference_names: list[str],
) -> dict[str, Any]:
    """Diversity and fidelity of A assets under one encoder.

    Keys: `matched`, `pooled` (both null for fewer than two assets), `similarity_matrix` [A][A], and
    `to_references` (null without references) with `mean` and, per asset, `per_asset`, `nearest`, `nearest_name`.
    """
    enough = len(features) >= 2
    return {
        "matched": _rounded(matched_view_similarity(features)),
        # The views of a single asset form pairs too, but say nothing of a set.
        "pooled": _rounded(mean_pairwise_similarity(features.flatten(0, 1))) if enough else None,
        "to_references": _fidelity(features, references, reference_names),
        "similarity_matrix": [[round(value, 6) for value in row] for row in similarity_matrix(features).tolist()],
    }


def _fidelity(features: Tensor, references: Tensor | None, names: list[str]) -> dict[str, Any] | None:
    if references is None:
        return None
    result = reference_similarity(features, references)
    return {
        "mean": _rounded(result.mean),
        "per_asset": [round(value, 6) for value in result.per_asset.tolist()],
        "nearest": [round(value, 6) for value in result.nearest.tolist()],
        "nearest_name": [names[index] for index in result.nearest_reference.tolist()],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
