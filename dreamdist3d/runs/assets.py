"""Several runs and mesh files, one after the other, to game assets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dreamdist3d.discovery import MESHES, RUN_RECORD, files_in
from dreamdist3d.errors import Stopped, reason_of
from dreamdist3d.files import ensure_folder, safe_name
from dreamdist3d.mesh.package import PHASES, AssetSource, ExportedAsset, PackageSettings, export_asset, file_source
from dreamdist3d.progress import Bar, bar
from dreamdist3d.prompts.looks.collection import DrawnPicture, made_of, picture_of
from dreamdist3d.runs.one import export_again
from dreamdist3d.runs.plan import PLAN_NAME
from dreamdist3d.runs.source import run_source

_FIRST_PHASE = "surface"
_NO_PICTURES: Mapping[str, DrawnPicture] = {}

Failures = list[tuple[Path, str]]
"""What failed, each with its reason in one line."""


def sources_of(
    named: Sequence[Path], pictures: Mapping[str, DrawnPicture] = _NO_PICTURES
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The runs and files to export: of a batch's folder its runs, of a folder of meshes its meshes, alone.

    `BATCH/*` names the batch's plan, tables, logs and report too; they are passed over. With pictures, the meshes that
    were made of them, at most three folders down.

    Returns:
        The sources, and what is left out of folders with the reason why.
    """
    found: list[Path] = []
    left: list[tuple[Path, str]] = []
    for path in named:
        if (path / PLAN_NAME).is_file():
            found += [run.parent for run in sorted(path.glob("*/run.json"))]
        elif pictures and path.is_dir() and not (path / RUN_RECORD).is_file():
            made, others = made_of(path, pictures)
            found += made.values()
            left += others
        elif path.is_dir() and not (path / RUN_RECORD).is_file() and (meshes := files_in(path, MESHES)):
            found += meshes
        elif (path.parent / PLAN_NAME).is_file() and not (path / "run.json").is_file():
            continue
        else:
            found.append(path)
    return found, left


def export_again_each(sources: Sequence[Path]) -> tuple[list[Path], Failures]:
    """Extract the meshes of runs again, each into its own folder; one that fails leaves the others alone."""
    meshes, failed = [], []
    for path in sources:
        try:
            meshes.append(export_again(path).mesh)
        except Exception as error:
            failed.append((path, _failure(error)))
    return meshes, failed


def export_assets(
    sources: Sequence[Path],
    out: Path,
    settings: PackageSettings,
    pictures: Mapping[str, DrawnPicture] = _NO_PICTURES,
) -> tuple[list[ExportedAsset], Failures]:
    """Each run or GLB, OBJ or PLY file into a folder of its own below `out`; one that fails leaves the others alone.

    A file that was made of one of the `pictures` is called after it, and its asset.json names the draw.

    Returns:
        What was written, and what failed.

    Raises:
        UserError: `out` cannot be written.
    """
    ensure_folder(out)
    assets, failed = [], []
    with bar("exporting", len(sources) * (1 + len(PHASES))) as progress:
        drawn = [picture_of(path, pictures) if path.is_file() else None for path in sources]
        names = folder_names([Path(of.name) if of else path for path, of in zip(sources, drawn, strict=True)])
        for path, name, of in zip(sources, names, drawn, strict=True):
            steps = _Steps(progress, name)
            try:
                steps.begins(_FIRST_PHASE)
                assets.append(export_asset(_source(path, of), out / name, settings, steps.begins))
            except Exception as error:  # parsers, solvers and packers fail in their own ways on what strangers wrote
                failed.append((path, _failure(error)))
            steps.end()
    return assets, failed


def _failure(error: Exception) -> str:
    if isinstance(error, Stopped):
        raise error
    return reason_of(error)


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


def _source(path: Path, picture: DrawnPicture | None) -> AssetSource:
    source = run_source(path) if path.is_dir() else file_source(path)
    if picture is None:
        return source
    licences = (*source.licences, *picture.licences)
    return replace(source, name=picture.name, origin={**source.origin, **picture.origin}, licences=licences)


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
