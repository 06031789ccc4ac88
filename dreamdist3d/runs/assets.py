"""Several runs and mesh files, one after the other, to game assets."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, safe_name
from dreamdist3d.mesh.package import PHASES, AssetSource, ExportedAsset, PackageSettings, export_asset, file_source
from dreamdist3d.progress import Bar, bar
from dreamdist3d.runs.source import run_source

_FIRST_PHASE = "surface"


def export_assets(
    sources: Sequence[Path], out: Path, settings: PackageSettings
) -> tuple[list[ExportedAsset], list[tuple[Path, UserError]]]:
    """Each run or GLB, OBJ or PLY file into a folder of its own below `out`; one that fails leaves the others alone.

    Returns:
        What was written, and what failed, each with its error.

    Raises:
        UserError: `out` cannot be written.
    """
    ensure_folder(out)
    assets, failed = [], []
    with bar("exporting", len(sources) * (1 + len(PHASES))) as progress:
        for path, name in zip(sources, folder_names(sources), strict=True):
            steps = _Steps(progress, name)
            try:
                steps.begins(_FIRST_PHASE)
                assets.append(export_asset(_source(path), out / name, settings, steps.begins))
            except UserError as error:
                failed.append((path, error))
            steps.end()
    return assets, failed


def folder_names(sources: Sequence[Path]) -> list[str]:
    """Safe names, no two alike whatever the case: of the run's folder, or of the file without its suffix."""
    seen: Counter[str] = Counter()
    names = []
    for path in sources:
        name = safe_name(path.stem if path.is_file() else path.resolve().name)
        seen[name.lower()] += 1
        while seen[name.lower()] > 1:
            name = f"{name}-{seen[name.lower()]}"
            seen[name.lower()] += 1
        names.append(name)
    return names


def _source(path: Path) -> AssetSource:
    return run_source(path) if path.is_dir() else file_source(path)


class _Steps:
    """One asset's share of the bar, whole at its end whatever became of it."""

    def __init__(self, progress: Bar, name: str) -> None:
        self._progress, self._name, self._begun = progress, name, 0

    def begins(self, phase: str) -> None:
        """The phase before is done."""
        self._progress.advance(f"{self._name}: {phase}", steps=min(self._begun, 1))
        self._begun += 1

    def end(self) -> None:
        self._progress.advance(self._name, steps=1 + len(PHASES) - max(self._begun - 1, 0))
