"""What a set is on disk: runs of ours, mesh files, or folders of renders by any system."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dreamdist3d.discovery import MESHES, RUN_RECORD, files_in, folders_below, foreign_meshes_in, pictures_in
from dreamdist3d.errors import UserError
from dreamdist3d.eval.renders import VIEW_NAMES
from dreamdist3d.files import read_json
from dreamdist3d.prompts.looks.collection import DrawnPicture, made_of

EXPORT = Path("export") / "model.glb"
MANIFEST = RUN_RECORD
_DEPTH = 3
_OWN = "sample_"
_DRAW = "dreamdist3d.json"  # of the threestudio extension
_MOST_VIEWS = 16
_TOLD = ("draw", "distribution", "backbone", "versions")  # sections of a run's record that the report repeats


@dataclass(frozen=True)
class Asset:
    """One mesh file, or one folder of renders; and the manifest of the run that made it if a run of ours did."""

    name: str
    path: Path
    manifest: dict[str, Any] | None = None
    views: dict[str, Path] = field(default_factory=dict)  # by view name; empty for a mesh

    @property
    def own_views(self) -> list[Path]:
        """The first views of its draw, from the sides of `VIEW_NAMES`; none unless its lift has kept all of them."""
        save = self.path.parent.parent / "save"
        found = [save / f"{_OWN}{name}.png" for name in VIEW_NAMES]
        return found if self.manifest is not None and all(path.is_file() for path in found) else []


@dataclass(frozen=True)
class AssetSet:
    """The assets to compare with each other, and what was left out with the reason why.

    What is not there yet is `skipped`; what is there and cannot be read is `damaged`.
    """

    name: str
    path: Path
    assets: list[Asset]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    damaged: list[tuple[Path, str]] = field(default_factory=list)
    kind: Literal["runs", "meshes", "renders"] = "runs"


def find_assets(folder: Path, pictures: Mapping[str, DrawnPicture] | None = None) -> AssetSet:
    """Runs or trials of threestudio at most three folders down, the mesh files in `folder`, or `asset/view.png`.

    With `pictures`, the meshes that were made of them, at most three folders down, in place of the mesh files.

    Raises:
        UserError: no such folder, runs without meshes, renders without common views, or nothing to score in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of a run, of runs, of meshes, or of renders.")
    for find in (_run_set, _trial_set):
        if found := find(folder):
            return found
    if pictures is not None:
        return _made_set(folder, pictures)
    for find in (_mesh_set, _render_set):
        if found := find(folder):
            return found
    raise UserError(
        f"nothing to score in {folder}: neither runs ({MANIFEST} with {EXPORT}, at most {_DEPTH} folders down), nor "
        f"trials of threestudio (save/it*-export or save/it*-test), nor {', '.join(MESHES)} files, nor renders "
        "(asset/view.png); export a run first or name another folder."
    )


def _run_set(folder: Path) -> AssetSet | None:
    runs = folders_below(folder, lambda here: (here / MANIFEST).is_file(), _DEPTH)
    done = [run for run in runs if (run / EXPORT).is_file()]
    skipped = [(run, f"no {EXPORT} yet; export the run first") for run in runs if run not in done]
    if runs and not done:
        # Their previews would otherwise be taken for somebody's renders.
        raise UserError(f"none of the {len(runs)} runs in {folder} has {EXPORT}; export the runs first.")
    assets, damaged = [], []
    for run in done:
        try:
            assets.append(Asset(_name(run, folder), run / EXPORT, _record(run / MANIFEST)))
        except UserError as error:
            damaged.append((run, str(error)))
    if done and not assets:
        raise UserError(f"none of the {len(done)} runs in {folder} can be scored: {damaged[0][1]}")
    return AssetSet(folder.resolve().name, folder, assets, skipped, damaged, "runs") if assets else None


def _record(path: Path) -> dict[str, Any]:
    """What a run says of itself, as far as a report repeats it.

    Raises:
        UserError: it cannot be read, or is no such record.
    """
    record = read_json(path)
    sections = (*_TOLD, "config")
    if not isinstance(record, dict) or not all(isinstance(record.get(key), dict | None) for key in sections):
        raise UserError(f"{path} is no record of a run: {', '.join(sections)} must be sections or null.")
    return record


def _trial_set(folder: Path) -> AssetSet | None:
    """Trials of threestudio: the last exported mesh of each or, if none has one, its last test renders."""
    trials = folders_below(folder, lambda here: any(_steps(here / "save", what) for what in ("export", "test")), _DEPTH)
    if not trials and (_steps(folder, "export") or _steps(folder, "test")):
        trials, folder = [folder.resolve().parent], folder.resolve().parent  # the save folder itself
    meshes = {trial: mesh for trial in trials if (mesh := _last_mesh(trial)) is not None}
    if meshes:
        skipped = [(trial, "nothing exported yet") for trial in trials if trial not in meshes]
        found = [Asset(_name(trial, folder), mesh, _draw_of(trial)) for trial, mesh in meshes.items()]
        return AssetSet(folder.resolve().name, folder, found, skipped, kind="meshes")
    return _as_renders(folder, {_name(trial, folder): _steps(trial / "save", "test")[-1] for trial in trials})


def _draw_of(trial: Path) -> dict[str, Any] | None:
    """What our extension recorded of the trial's draw, if it made it and the record is sound."""
    try:
        return _record(trial / _DRAW)
    except UserError:
        return None


def _steps(save: Path, what: str) -> list[Path]:
    """The folders `it<step>-<what>` in the order of their steps."""
    found = {}
    for child in save.iterdir() if save.is_dir() else ():
        if (match := re.fullmatch(rf"it(\d+)-{what}", child.name)) and child.is_dir():
            found[int(match[1])] = child
    return [found[step] for step in sorted(found)]


def _last_mesh(trial: Path) -> Path | None:
    for folder in reversed(_steps(trial / "save", "export")):
        if meshes := files_in(folder, MESHES):
            return meshes[0]
    return None


def _mesh_set(folder: Path) -> AssetSet | None:
    paths = files_in(folder, MESHES)
    # Files of one stem in several formats are told apart by their full names.
    stems = Counter(path.stem for path in paths)
    assets = [Asset(path.stem if stems[path.stem] == 1 else path.name, path) for path in paths]
    return AssetSet(folder.resolve().name, folder, assets, foreign_meshes_in(folder), kind="meshes") if assets else None


def _made_set(folder: Path, pictures: Mapping[str, DrawnPicture]) -> AssetSet:
    """Meshes told by the names of the pictures they were made of."""
    meshes, left = made_of(folder, pictures)
    if not meshes:
        raise UserError(
            f"no mesh in {folder} was made of the pictures: their names must begin as the pictures' do, such as "
            f"{next(iter(pictures), 'NAME')}.glb."
        )
    assets = [Asset(name, path, pictures[name].origin) for name, path in meshes.items()]
    return AssetSet(folder.resolve().name, folder, assets, left, kind="meshes")


def _render_set(folder: Path) -> AssetSet | None:
    children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    return _as_renders(folder, {child.name: child for child in children})


def _as_renders(folder: Path, places: dict[str, Path]) -> AssetSet | None:
    """Views are matched by file name: those that most assets have; an asset that lacks one is left out."""
    found = [Asset(name, place, views=_pictures(place)) for name, place in places.items()]
    found = [asset for asset in found if asset.views]
    counts = Counter(view for asset in found for view in asset.views)
    common = _evenly(sorted((view for view, count in counts.items() if 2 * count > len(found)), key=_natural))
    assets, skipped = [], []
    for asset in found:
        lacking = [view for view in common if view not in asset.views]
        if lacking or not common:
            skipped.append((asset.path, f"no view {lacking[0]!r}" if lacking else "no view shared with the others"))
        else:
            assets.append(Asset(asset.name, asset.path, views={view: asset.views[view] for view in common}))
    if found and not assets:
        raise UserError(f"the renders in {folder} share no view: name the pictures of every asset's views alike.")
    return AssetSet(folder.resolve().name, folder, assets, skipped, kind="renders") if assets else None


def _natural(name: str) -> tuple[int, str]:
    """Numbered views by their numbers, the others by name."""
    return (int(name), "") if name.isascii() and name.isdigit() and len(name) < 10 else (-1, name)


def _evenly(views: list[str]) -> list[str]:
    """At most sixteen of the frames of a turntable, evenly taken: more say nothing new."""
    return views if len(views) <= _MOST_VIEWS else [views[i * len(views) // _MOST_VIEWS] for i in range(_MOST_VIEWS)]


def _pictures(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in pictures_in(folder)[0]}


def _name(place: Path, folder: Path) -> str:
    return "/".join(place.relative_to(folder).parts) or place.resolve().name
