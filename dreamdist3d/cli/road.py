"""Commands that walk the road: one run, its mesh, its score, and all of it in miniature."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg, create_mutex_group

if TYPE_CHECKING:
    from dreamdist3d.config import RunConfig
    from dreamdist3d.runs.one import Mode

_MODE = create_mutex_group(required=False)


def launch(
    config: str,
    overrides: Positional[tuple[str, ...]] = (),
    train: Annotated[bool, _MODE] = False,
    test: Annotated[bool, _MODE] = False,
    export: Annotated[bool, _MODE] = False,
    low_vram: bool = False,
    engine: Literal["native", "threestudio"] = "native",
) -> None:
    """One run: a draw of a distribution, or a plain prompt, lifted to a 3D asset.

    Args:
        config: a YAML file, as given or below configs/, e.g. dreamdist3d/mini.yaml.
        overrides: key=value for any key of the configuration.
        train: the whole road, from the last checkpoint if there is one (the default).
        test: render the views of a trained run again.
        export: extract the mesh of a trained run again.
        low_vram: less GPU memory for more time, as system.low_vram=true.
        engine: native is this package; threestudio is the checkout in $THREESTUDIO_HOME (docs/threestudio.md).
    """
    from dreamdist3d.config import load_config

    settings = load_config(config, [*overrides, "system.low_vram=true"] if low_vram else overrides)
    mode = "test" if test else "export" if export else "train"
    if engine == "threestudio":
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


def export(runs: Positional[tuple[Path, ...]]) -> None:
    """Extract the meshes of trained runs again.

    Args:
        runs: folders of runs.
    """
    from dreamdist3d.runs.one import export_again

    for run in runs:
        print(export_again(run).mesh)


def evaluate(sets: Positional[tuple[Path, ...]], out: Path = Path("report"), references: Path | None = None) -> None:
    """Score the diversity of sets of assets and their likeness to reference images.

    Args:
        sets: folders, each of one run, of runs, or of GLB files.
        out: the folder for report.json and report.html.
        references: a folder of reference images.
    """
    from dreamdist3d.eval import evaluate

    evaluate(sets, references, out)
    print(out / "report.html")


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
