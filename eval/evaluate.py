"""From folders of assets to a report."""

import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.eval.assets import Asset, AssetSet, find_assets
from dreamdist3d.eval.diversity import mean_pairwise_similarity
from dreamdist3d.eval.features import ImageEncoder, MiniClip, MiniDino
from dreamdist3d.eval.measure import measure
from dreamdist3d.eval.renders import AZIMUTHS_DEG, ELEVATION_DEG, FOV_DEG, VIEW_NAMES, render_views
from dreamdist3d.eval.report import SCHEMA_VERSION, ReportPictures, write_report
from dreamdist3d.files import ensure_folder
from dreamdist3d.mesh.read import read_mesh
from dreamdist3d.progress import Bar, bar
from dreamdist3d.prompts.images import ReferenceImages, load_references

_LIBRARIES = ("dreamdist3d", "torch", "transformers", "trimesh", "embreex")


def evaluate(
    sets: Sequence[Path],
    references: Path | None,
    out: Path,
    image_size: int = 128,
    encoders: Sequence[ImageEncoder] | None = None,
) -> dict[str, Any]:
    """Score sets of assets and write report.json, report.html and contact_sheet.png into `out`.

    Args:
        sets: folders, each one run, a folder of runs (at most three levels down) or a folder of GLB files.
        references: the folder of reference images, or None.
        out: where the report goes.
        image_size: pixels of the renders.
        encoders: the judges; None for the packaged mini-DINO and mini-CLIP.

    Returns:
        What report.json holds. Diversity is null, with a note, in a set of fewer than two assets;
        files that cannot be read are named under `skipped`.

    Raises:
        UserError: nothing to score, no readable reference, no judges, or `out` cannot be written.
    """
    found = _unique_names([find_assets(Path(folder)) for folder in sets])
    if not found:
        raise UserError("nothing to evaluate: name at least one folder of runs or of GLB files.")
    ensure_folder(Path(out))
    pictures = load_references(Path(references), image_size) if references is not None else None
    judges = list(encoders) if encoders is not None else [MiniDino(), MiniClip()]
    with bar("rendering", sum(len(entry.assets) for entry in found)) as progress:
        rendered = [_render(entry, image_size, progress) for entry in found]
    report = _report(rendered, pictures, judges, references, image_size)
    shown = _to_uint8(pictures.pixels) if pictures is not None else None
    write_report(report, ReportPictures([views for _, views in rendered], shown), Path(out))
    return report


def _render(entry: AssetSet, size: int, progress: Bar) -> tuple[AssetSet, np.ndarray]:
    """The assets that can be read, and their views [A, V, S, S, 3]."""
    assets, views, skipped = [], [], list(entry.skipped)
    for asset in entry.assets:
        try:
            views.append(render_views(read_mesh(asset.path), size))
            assets.append(asset)
        except (UserError, ValueError) as error:
            skipped.append((asset.path, str(error).removeprefix(f"{asset.path} ")))
        progress.advance(asset.name)
    if not assets:
        path, reason = skipped[-1]
        raise UserError(f"none of the {len(entry.assets)} GLB files of {entry.path} can be scored: {path} {reason}")
    return AssetSet(entry.name, entry.path, assets, skipped), np.stack(views)


def _report(
    rendered: Sequence[tuple[AssetSet, np.ndarray]],
    pictures: ReferenceImages | None,
    judges: Sequence[ImageEncoder],
    folder: Path | None,
    image_size: int,
) -> dict[str, Any]:
    targets = {judge.name: judge.encode(_unit_range(pictures)) for judge in judges} if pictures is not None else {}
    names = [path.name for path in pictures.paths] if pictures is not None else []
    return {
        "version": SCHEMA_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "libraries": {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES},
        "views": {
            "names": list(VIEW_NAMES),
            "azimuth_deg": list(AZIMUTHS_DEG),
            "elevation_deg": ELEVATION_DEG,
            "fov_deg": FOV_DEG,
            "image_size": image_size,
        },
        "encoders": [judge.name for judge in judges],
        "references": _references(pictures, targets, folder),
        "sets": [_set(entry, views, judges, targets, names) for entry, views in rendered],
    }


def _set(
    entry: AssetSet,
    views: np.ndarray,  # uint8 [A, V, S, S, 3]
    judges: Sequence[ImageEncoder],
    targets: dict[str, Tensor],
    reference_names: list[str],
) -> dict[str, Any]:
    assets, n_views = views.shape[:2]
    images = torch.from_numpy(views).flatten(0, 1).movedim(-1, 1).float() / 255.0
    notes = [] if assets >= 2 else ["Diversity needs at least two assets; this set has one."]
    return {
        "name": entry.name,
        "path": str(entry.path),
        "n_views": n_views,
        "assets": [_asset(asset) for asset in entry.assets],
        "encoders": {
            judge.name: measure(
                judge.encode(images).unflatten(0, (assets, n_views)), targets.get(judge.name), reference_names
            )
            for judge in judges
        },
        "skipped": [{"file": str(path), "reason": reason} for path, reason in entry.skipped],
        "notes": notes,
    }


def _asset(asset: Asset) -> dict[str, Any]:
    """Where an asset comes from; the manifest's keys are null for a GLB file that no run of ours made."""
    manifest = asset.manifest or {}
    return {
        "name": asset.name,
        "file": str(asset.path),
        "seed": (manifest.get("config") or {}).get("seed"),
        **{key: manifest.get(key) for key in ("draw", "distribution", "backbone", "versions")},
    }


def _references(
    pictures: ReferenceImages | None, targets: dict[str, Tensor], folder: Path | None
) -> dict[str, Any] | None:
    """What the references are, and how alike they are among themselves: the diversity to reach."""
    if pictures is None:
        return None
    return {
        "path": str(folder),
        "names": [path.name for path in pictures.paths],
        "content_hash": pictures.content_hash,
        "pooled": {name: mean_pairwise_similarity(features) for name, features in targets.items()},
        "skipped": [{"file": str(path), "reason": reason} for path, reason in pictures.skipped],
    }


def _unique_names(found: Sequence[AssetSet]) -> list[AssetSet]:
    names = [entry.name for entry in found]
    return [
        AssetSet(str(entry.path), entry.path, entry.assets, entry.skipped) if names.count(entry.name) > 1 else entry
        for entry in found
    ]


def _unit_range(pictures: ReferenceImages) -> Tensor:
    return (pictures.pixels + 1.0) / 2.0


def _to_uint8(pixels: Tensor) -> np.ndarray:
    """[N, 3, H, W] in [-1, 1] -> uint8 [N, H, W, 3]."""
    return ((pixels + 1.0) * 127.5).round().clamp(0, 255).byte().movedim(1, -1).numpy()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
