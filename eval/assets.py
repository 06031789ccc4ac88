"""What a set is on disk: runs of ours, or GLB files."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dreamdist3d.errors import UserError
from dreamdist3d.files import read_json

EXPORT = Path("export") / "model.glb"
MANIFEST = "run.json"
_DEPTH = 3


@dataclass(frozen=True)
class Asset:
    """One GLB file, and the manifest of the run that made it if a run of ours did."""

    name: str
    path: Path
    manifest: dict[str, Any] | None = None


@dataclass(frozen=True)
class AssetSet:
    """The assets to compare with each other, and what was left out with the reason why."""

    name: str
    path: Path
    assets: list[Asset]
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def find_assets(folder: Path) -> AssetSet:
    """One run, every run at most three folders down, or the GLB files directly in `folder`.

    Raises:
        UserError: no such folder, or nothing to score in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of a run, of several runs, or of GLB files.")
    runs = _find_runs(folder)
    skipped = [(run, f"no {EXPORT} yet; export the run first") for run in runs if not (run / EXPORT).is_file()]
    assets = [_run_asset(run, folder) for run in runs if (run / EXPORT).is_file()]
    if not runs:
        assets = [Asset(path.stem, path) for path in sorted(folder.iterdir()) if path.suffix.lower() == ".glb"]
    if not assets:
        raise UserError(
            f"nothing to score in {folder}: neither runs ({MANIFEST} with {EXPORT}, at most {_DEPTH} folders down) "
            "nor GLB files; export a run first or name another folder."
        )
    return AssetSet(folder.resolve().name, folder, assets, skipped)


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
