"""What a set is on disk: runs of ours, mesh files, or folders of renders by any system."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dreamdist3d.errors import UserError
from dreamdist3d.files import read_json
from dreamdist3d.mesh.read import READABLE
from dreamdist3d.prompts.learning.images import SUFFIXES

EXPORT = Path("export") / "model.glb"
MANIFEST = "run.json"
_DEPTH = 3


@dataclass(frozen=True)
class Asset:
    """One mesh file, or one folder of renders; and the manifest of the run that made it if a run of ours did."""

    name: str
    path: Path
    manifest: dict[str, Any] | None = None
    views: dict[str, Path] = field(default_factory=dict)  # by view name; empty for a mesh


@dataclass(frozen=True)
class AssetSet:
    """The assets to compare with each other, and what was left out with the reason why."""

    name: str
    path: Path
    assets: list[Asset]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    kind: Literal["runs", "meshes", "renders"] = "runs"


def find_assets(folder: Path) -> AssetSet:
    """One run, every run at most three folders down, the mesh files directly in `folder`, or `asset/view.png`.

    Raises:
        UserError: no such folder, runs without meshes, renders without common views, or nothing to score in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of a run, of runs, of meshes, or of renders.")
    for find in (_run_set, _mesh_set, _render_set):
        if found := find(folder):
            return found
    raise UserError(
        f"nothing to score in {folder}: neither runs ({MANIFEST} with {EXPORT}, at most {_DEPTH} folders down) "
        f"nor {', '.join(READABLE)} files nor renders (asset/view.png); export a run first or name another folder."
    )


def _run_set(folder: Path) -> AssetSet | None:
    runs = _find_runs(folder)
    done = [run for run in runs if (run / EXPORT).is_file()]
    skipped = [(run, f"no {EXPORT} yet; export the run first") for run in runs if run not in done]
    if runs and not done:
        # Their previews would otherwise be taken for somebody's renders.
        raise UserError(f"none of the {len(runs)} runs in {folder} has {EXPORT}; export the runs first.")
    assets = [_run_asset(run, folder) for run in done]
    return AssetSet(folder.resolve().name, folder, assets, skipped, "runs") if assets else None


def _mesh_set(folder: Path) -> AssetSet | None:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in READABLE and path.is_file())
    # Files of one stem in several formats are told apart by their full names.
    stems = Counter(path.stem for path in paths)
    assets = [Asset(path.stem if stems[path.stem] == 1 else path.name, path) for path in paths]
    return AssetSet(folder.resolve().name, folder, assets, [], "meshes") if assets else None


def _render_set(folder: Path) -> AssetSet | None:
    """Views are matched by file name: those that most assets have; an asset that lacks one is left out."""
    found = [Asset(child.name, child, views=_pictures(child)) for child in sorted(folder.iterdir()) if child.is_dir()]
    found = [asset for asset in found if asset.views]
    counts = Counter(view for asset in found for view in asset.views)
    common = sorted(view for view, count in counts.items() if 2 * count > len(found))
    assets, skipped = [], []
    for asset in found:
        lacking = [view for view in common if view not in asset.views]
        if lacking or not common:
            skipped.append((asset.path, f"no view {lacking[0]!r}" if lacking else "no view shared with the others"))
        else:
            assets.append(Asset(asset.name, asset.path, views={view: asset.views[view] for view in common}))
    if found and not assets:
        raise UserError(f"the renders in {folder} share no view: name the pictures of every asset's views alike.")
    return AssetSet(folder.resolve().name, folder, assets, skipped, "renders") if assets else None


def _pictures(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}


def _find_runs(folder: Path) -> list[Path]:
    runs = []
    for root, children, names in os.walk(folder):
        children.sort()
        here = Path(root)
        if MANIFEST in names:
            runs.append(here)
        if MANIFEST in names or len(here.relative_to(folder).parts) >= _DEPTH:
            children.clear()
    return runs


def _run_asset(run: Path, folder: Path) -> Asset:
    name = "/".join(run.relative_to(folder).parts) or run.resolve().name
    return Asset(name, run / EXPORT, read_json(run / MANIFEST))
