"""What report.json says of the judges, the references and each set, beside the scores: flags, and the paper's table."""

import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dreamdist3d.eval.assets import Asset
from dreamdist3d.eval.diversity import mean_pairwise_similarity, nearest_neighbours, similarity_matrix
from dreamdist3d.eval.features import ImageEncoder
from dreamdist3d.eval.fidelity import reference_similarity
from dreamdist3d.eval.fidelity.manifold import NEAREST
from dreamdist3d.eval.flags import empty_assets, foreground, janus_suspects, outside_manifold
from dreamdist3d.eval.load import LoadedSet, References
from dreamdist3d.eval.measure import Scores, Seen
from dreamdist3d.eval.metrics import METRICS
from dreamdist3d.eval.renders import AZIMUTHS_DEG, ELEVATION_DEG, FOV_DEG, VIEW_NAMES
from dreamdist3d.files import sha256_of

SCHEMA_VERSION = 3
EMPTY, OUTSIDE, JANUS = "empty", "outside the references' manifold", "Janus suspect"
_LIBRARIES = ("dreamdist3d", "torch", "transformers", "timm", "open_clip_torch", "trimesh", "embreex")

# What the paper published, to stand beside our numbers and never among them.
TABLE_4: dict[str, Any] = {
    "source": "DreamDistribution, appendix C.9, Table 4",
    "note": (
        "Published, not measured here, and not comparable with numbers of other encoders, objects or renders: MVDream "
        "at full size, average pairwise cosine similarity of the features of rendered images. The paper states "
        "neither the number of assets, nor the views, nor the encoders' variants."
    ),
    "columns": ["CLIP-I", "DINO"],
    "rows": [
        {"method": "Textual Inversion", "CLIP-I": 0.63, "DINO": 0.31},
        {"method": "DreamDistribution", "CLIP-I": 0.53, "DINO": 0.14},
    ],
}


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
        "assets": [
            _asset(asset) | {"flags": found, "not_followed": list(lines)}
            for asset, found, lines in zip(entry.assets, flags, one.not_followed, strict=True)
        ],
        "scores": [score.as_dict() for score in scores.found],
        "encoders": {by.judge: _details(by, scores, names) for by in seen},
        "skipped": _left_out(entry.skipped, False) + _left_out(entry.damaged, True),
        "notes": scores.notes,
    }


def _left_out(found: Sequence[tuple[Path, str]], is_damaged: bool) -> list[dict[str, Any]]:
    return [{"file": str(path), "reason": reason, "is_damaged": is_damaged} for path, reason in found]


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
        "pooled": {by.judge: mean_pairwise_similarity(by.references) for by in seen if by.references is not None},
        "skipped": [{"file": str(path), "reason": reason} for path, reason in targets.images.skipped],
    }


def _six(values: Sequence[float]) -> list[float]:
    return [round(value, 6) for value in values]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def find_suspects(loaded: LoadedSet, seen: Sequence[Seen]) -> list[list[str]]:
    """For each asset its flags, such as "outside the references' manifold (mini-DINO)".

    What cannot be told (too few references for a manifold, views without a front and a back) is not flagged. An
    empty asset carries no other flag.
    """
    flags: list[list[str]] = [[] for _ in loaded.entry.assets]
    empty = empty_assets(foreground(loaded.views)).tolist()
    for one in seen:
        for name, hits in _under(one, loaded.view_names):
            for asset in torch.nonzero(hits).flatten().tolist():
                flags[asset].append(f"{name} ({one.judge})")
    return [[EMPTY] if is_empty else found for is_empty, found in zip(empty, flags, strict=True)]


def _under(seen: Seen, view_names: tuple[str, ...]) -> list[tuple[str, torch.Tensor]]:
    found: list[tuple[str, torch.Tensor]] = []
    if seen.references is None:
        return found
    if len(seen.references) > NEAREST:
        found.append((OUTSIDE, outside_manifold(seen.features, seen.references)))
    if len(seen.references) >= 2 and (sides := _turned(view_names)):
        found.append((JANUS, janus_suspects(seen.features[:, sides], seen.references)))
    return found


def _turned(view_names: tuple[str, ...]) -> list[int] | None:
    """Where front, left, back and right are, if all four are there."""
    return [view_names.index(name) for name in VIEW_NAMES] if set(VIEW_NAMES) <= set(view_names) else None
