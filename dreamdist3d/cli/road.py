"""Commands that walk the road: one run, its mesh, its score, and all of it in miniature."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg, create_mutex_group

from dreamdist3d.choices import EngineName, MeshFormat, PresetName, Renderer
from dreamdist3d.cli.given import (
    ConfigFile,
    LowVram,
    Overrides,
    PictureFolder,
    ReferenceFolder,
    given,
    left_out,
    overridden,
)
from dreamdist3d.errors import UserError

if TYPE_CHECKING:
    from dreamdist3d.config import RunConfig
    from dreamdist3d.eval import ImageEncoder
    from dreamdist3d.mesh.package import PackageSettings
    from dreamdist3d.prompts.looks.collection import DrawnPicture
    from dreamdist3d.runs.assets import Failures
    from dreamdist3d.runs.one import Mode

_MODE = create_mutex_group(required=False)


def launch(
    config: ConfigFile,
    overrides: Overrides = (),
    train: Annotated[bool, _MODE] = False,
    test: Annotated[bool, _MODE] = False,
    export: Annotated[bool, _MODE] = False,
    low_vram: LowVram = False,
    engine: Annotated[EngineName | None, left_out("{native,threestudio,trellis}", "system.engine")] = None,
) -> None:
    """One run: a draw of a distribution, or a plain prompt, lifted to a 3D asset.

    Args:
        train: the whole road, from the last checkpoint if there is one (the default).
        test: render the views of a trained run again.
        export: extract the mesh of a trained run again.
        engine: native is this package; threestudio is the checkout in $THREESTUDIO_HOME (docs/threestudio.md); trellis
            is TRELLIS (docs/engines.md).
    """
    from dreamdist3d.config import load_config

    chosen = () if engine is None else (f"system.engine={engine}",)
    settings = load_config(config, [*overridden(overrides, low_vram), *chosen])
    mode: Mode = "test" if test else "export" if export else "train"
    if settings.system.engine == "threestudio":
        print(_through_threestudio(settings, mode))
        return
    from dreamdist3d.runs.one import run_once

    print(run_once(settings, mode).folder)


def _through_threestudio(settings: "RunConfig", mode: "Mode") -> Path:
    from dreamdist3d.threestudio.engine import launch_threestudio
    from dreamdist3d.threestudio.translate import ignored_keys

    if ignored := ignored_keys(settings):
        print(f"note: --engine threestudio does not honour {', '.join(ignored)}.", file=sys.stderr)
    return launch_threestudio(settings, mode)


@dataclass(frozen=True)
class PackageOptions:
    """How a game asset is made; only with --preset."""

    height: Annotated[float | None, left_out("METRES", "the source's own units are metres")] = None
    """From base to top."""
    triangles: Annotated[int | None, left_out("INT", "20000")] = None
    """Of LOD0; every further level has half as many."""
    texture_size: Annotated[int | None, left_out("INT", "1024")] = None
    """Texels along an edge, a power of two."""
    formats: Annotated[tuple[MeshFormat, ...] | None, left_out("[{glb,obj,ply,usdz} ...]", "the preset's")] = None
    """Files to write."""
    lods: Annotated[int | None, left_out("INT", "4")] = None
    """Levels of detail, LOD0 included."""
    hulls: Annotated[int | None, left_out("INT", "16")] = None
    """The most convex collision hulls; 0 for none."""
    hull_seconds: Annotated[float | None, left_out("SECONDS", "60")] = None
    """How long the search for hulls may take before one hull covers all."""
    crease: Annotated[float | None, left_out("DEGREES", "the file's own normals, or 30 where it has none")] = None
    """Above which angle an edge is hard."""
    renderer: Annotated[Renderer | None, left_out("{embree,pytorch3d}", "embree")] = None
    """What the preview and the turntable are rendered with."""


def export(
    sources: Annotated[Positional[tuple[Path, ...]], arg(metavar="PATH [PATH ...]", help_behavior_hint="")],
    preset: Annotated[PresetName | None, left_out("{unity,unreal,godot,web}", "none, a plain mesh")] = None,
    out: Path = Path("assets"),
    pictures: PictureFolder = None,
    options: Annotated[PackageOptions, arg(name="")] = PackageOptions(),
) -> None:
    """Make game assets of trained runs, or of glTF, OBJ and PLY files (docs/meshes.md).

    Without a preset: extract the meshes of runs again, each into its own folder.

    Args:
        sources: folders of runs or batches, or mesh files whose +Y is up and +Z the front.
        preset: the engine whose conventions the files follow.
        out: the folder for the assets, each in a folder of its own.
    """
    chosen = given(options)
    if preset is None and (chosen or pictures):
        first = next(iter(chosen), "pictures").replace("_", "-")
        raise UserError(f"--{first} needs --preset unity, unreal, godot or web.")
    from dreamdist3d.runs.assets import export_again_each, export_assets, sources_of

    known = _known_pictures(pictures)
    found, left = sources_of(sources, known)
    for path, reason in left:
        print(f"skipped {path}: {reason}", file=sys.stderr)
    if not found:
        raise UserError("nothing to export: name at least one batch, folder of a run, or glTF, OBJ or PLY file.")
    if preset is None:
        meshes, failed = export_again_each(found)
        for mesh in meshes:
            print(mesh)
    else:
        assets, failed = export_assets(found, out, _package_settings(preset, chosen), known)
        for asset in assets:
            print(asset.folder)
            for line in asset.record["not_followed"]:
                print(f"not followed: {asset.folder}: {line}", file=sys.stderr)
            for warning in asset.record["warnings"]:
                print(f"warning: {asset.folder}: {warning}", file=sys.stderr)
    _tell_failed(failed, len(found))


def _known_pictures(folder: Path | None) -> "dict[str, DrawnPicture]":
    if folder is None:
        return {}
    from dreamdist3d.prompts.looks.collection import open_collection

    return open_collection(folder)


def _tell_failed(failed: "Failures", count: int) -> None:
    """Raise a UserError for what failed; where it is several, each has a line of its own before it."""
    lines = [reason if str(path) in reason else f"{path}: {reason}" for path, reason in failed]
    if len(lines) == 1 and count == 1:
        raise UserError(lines[0])
    for line in lines:
        print(f"failed: {line}", file=sys.stderr)
    if lines:
        raise UserError(f"{count - len(lines)} of {count} were exported; the first that was not: {lines[0]}")


def _package_settings(preset: PresetName, chosen: dict[str, Any]) -> "PackageSettings":
    from dreamdist3d.mesh.package import PackageSettings
    from dreamdist3d.mesh.texture import TextureSettings

    if "height" in chosen:
        chosen["height_m"] = chosen.pop("height")
    if "crease" in chosen:
        chosen["crease_deg"] = chosen.pop("crease")
    if "texture_size" in chosen:
        chosen["texture"] = TextureSettings(size=chosen.pop("texture_size"))
    return PackageSettings(preset=preset, **chosen)


def evaluate(
    sets: Annotated[Positional[tuple[Path, ...]], arg(metavar="FOLDER [FOLDER ...]", help_behavior_hint="")],
    out: Path = Path("report"),
    references: ReferenceFolder = None,
    text: Annotated[str | None, left_out("TEXT", "none")] = None,
    features: tuple[str, ...] = ("mini",),
    names: Annotated[tuple[str, ...], left_out("NAME [NAME ...]", "those of the folders")] = (),
    renderer: Renderer = "embree",
    cache: Annotated[Path | None, left_out("FOLDER", "features/ in the report's folder")] = None,
    pictures: PictureFolder = None,
    protocol: Annotated[Literal["dreambench"] | None, left_out("{dreambench}", "sets of assets")] = None,
) -> None:
    """Score how different the assets of each set are, and how faithful; compare sets (docs/evaluation.md).

    Args:
        sets: folders, each of a batch, of runs, of GLB, OBJ or PLY files, or of renders (asset/view.png).
        out: the folder for report.html, report.json and the tables.
        text: a sentence that the assets should look like.
        features: judges: mini, dino_vits16, dino_vitb8, dinov2, clip_vitb32, clip_vitl14, or one of them as
            NAME=CHECKPOINT; also lpips, and inception for FID and KID.
        names: of the sets, in their order.
        renderer: of the meshes; pytorch3d where it is installed.
        cache: where features are kept between calls.
        protocol: dreambench: one folder with dataset/ and generated/, scored as published (docs/assistant.md).
    """
    from dreamdist3d.eval import evaluate
    from dreamdist3d.eval.evaluate import judges_by_name, left_out_lines, require_undamaged

    encoders, extras = judges_by_name(features)
    if protocol == "dreambench":
        _dreambench(sets, encoders, out)
        return
    report = evaluate(
        sets,
        references,
        out,
        encoders=encoders,
        extras=extras,
        names=names,
        text=text,
        renderer=renderer,
        cache=cache,
        pictures=pictures,
    )
    for line in left_out_lines(report):
        print(line, file=sys.stderr)
    print(out / "report.html")
    require_undamaged(report)


def _dreambench(folders: tuple[Path, ...], encoders: "list[ImageEncoder]", out: Path) -> None:
    from dreamdist3d.eval.dreambench import score_dreambench, write_dreambench

    if len(folders) != 1:
        raise UserError(f"--protocol dreambench scores one folder, not {len(folders)}.")
    found = score_dreambench(folders[0], encoders)
    print(write_dreambench(found, out))
    for line in found.skipped:
        print(f"skipped {line}", file=sys.stderr)
    if found.skipped:
        raise UserError(f"{found.pictures} of {found.expected} pictures were scored; {len(found.skipped)} things lack.")


def demo(
    out: Path = Path("outputs/demo"), runs: Annotated[int, arg(metavar="N")] = 4, family: str = "mushroom"
) -> None:
    """Walk the whole road in miniature: references, learning, runs, report. Goes on where it was stopped.

    Args:
        out: the folder for everything.
        runs: assets to make.
        family: what the reference images show.
    """
    from dreamdist3d.demo import demo

    print(demo(out, runs, family, say=lambda line: print(line, flush=True)))
