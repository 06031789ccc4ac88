"""What report.json says of the judges, the references and each set, beside the scores."""

import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dreamdist3d.eval.assets import Asset
from dreamdist3d.eval.diversity import mean_pairwise_similarity, nearest_neighbours, similarity_matrix
from dreamdist3d.eval.features import ImageEncoder
from dreamdist3d.eval.fidelity import reference_similarity
from dreamdist3d.eval.load import LoadedSet, References
from dreamdist3d.eval.measure import Scores, Seen
from dreamdist3d.eval.metrics import METRICS
from dreamdist3d.eval.paper import TABLE_4
from dreamdist3d.eval.renders import AZIMUTHS_DEG, ELEVATION_DEG, FOV_DEG, VIEW_NAMES
from dreamdist3d.eval.suspects import find_suspects
from dreamdist3d.files import sha256_of

SCHEMA_VERSION = 2
_LIBRARIES = ("dreamdist3d", "torch", "transformers", "timm", "open_clip_torch", "trimesh", "embreex")


def describe(
    judges: Sequence[ImageEncoder],
    targets: References | None,
    seen: Sequence[Seen],
    text: str | None,
    image_size: int,
    renderer: str,
    command: str,
) -> dict[str, Any]:
    """Everything of the report but its sets.

    Args:
        seen: what each judge makes of any set, for the references' features.
    """
    return {
        "version": SCHEMA_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "libraries": {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES},
        "views": {
            "names": list(VIEW_NAMES),
            "azimuth_deg": list(AZIMUTHS_DEG),
            "elevation_deg": ELEVATION_DEG,
            "fov_deg": FOV_DEG,
            "image_size": image_size,
            "renderer": renderer,
        },
        "encoders": [{"name": j.name, "model_id": j.model_id, "resize": j.resize} for j in judges],
        "text": text,
        "metrics": {key: {"label": m.label, "side": m.side, "better": m.better} for key, m in METRICS.items()},
        "references": _references(targets, seen) if targets is not None else None,
        "published": TABLE_4,
    }


def describe_set(one: LoadedSet, seen: Sequence[Seen], scores: Scores, targets: References | None) -> dict[str, Any]:
    """One entry of the report's sets."""
    entry, flags = one.entry, find_suspects(one, seen)
    names = [path.name for path in targets.images.paths] if targets is not None else []
    return {
        "name": entry.name,
        "path": str(entry.path),
        "kind": entry.kind,
        "n_views": len(one.view_names),
        "view_names": list(one.view_names),
        "assets": [_asset(asset) | {"flags": found} for asset, found in zip(entry.assets, flags, strict=True)],
        "scores": [score.as_dict() for score in scores.found],
        "encoders": {by.judge: _details(by, scores, names) for by in seen},
        "skipped": [{"file": str(path), "reason": reason} for path, reason in entry.skipped],
        "notes": scores.notes,
    }


def _details(seen: Seen, scores: Scores, names: list[str]) -> dict[str, Any]:
    """What one judge says asset by asset, and the two similarities that need no looking up."""
    matrix = similarity_matrix(seen.features)
    found = {s.metric: round(s.estimate.value, 6) for s in scores.found if s.judge == seen.judge}
    return {
        "matched": found.get("matched"),
        "pooled": found.get("pooled"),
        "similarity_matrix": [_six(row) for row in matrix.tolist()],
        "nearest_asset": nearest_neighbours(matrix).index.tolist() if len(matrix) >= 2 else [],
        "to_references": _to_references(seen, names),
    }


def _to_references(seen: Seen, names: list[str]) -> dict[str, Any] | None:
    if seen.references is None:
        return None
    result = reference_similarity(seen.features, seen.references)
    return {
        "mean": round(result.mean, 6),
        "per_asset": _six(result.per_asset.tolist()),
        "nearest": _six(result.nearest.tolist()),
        "nearest_name": [names[index] for index in result.nearest_reference.tolist()],
    }


def _asset(asset: Asset) -> dict[str, Any]:
    """Where an asset comes from; the manifest's keys are null for what no run of ours made."""
    manifest = asset.manifest or {}
    return {
        "name": asset.name,
        "file": str(asset.path),
        "sha256": sha256_of(asset.path) if asset.path.is_file() else None,
        "seed": (manifest.get("config") or {}).get("seed"),
        **{key: manifest.get(key) for key in ("draw", "distribution", "backbone", "versions")},
    }


def _references(targets: References, seen: Sequence[Seen]) -> dict[str, Any]:
    """What the references are, and how alike they are among themselves: the diversity to reach."""
    return {
        "path": str(targets.folder),
        "names": [path.name for path in targets.images.paths],
        "content_hash": targets.images.content_hash,
        "pooled": {by.judge: mean_pairwise_similarity(by.references) for by in seen},
        "skipped": [{"file": str(path), "reason": reason} for path, reason in targets.images.skipped],
    }


def _six(values: Sequence[float]) -> list[float]:
    return [round(value, 6) for value in values]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
