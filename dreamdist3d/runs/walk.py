"""Prepared runs, one or several in step, through lift, views and mesh."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import ensure_folder, write_text
from dreamdist3d.lift import Field, save_views
from dreamdist3d.lift.checkpoints import last_readable
from dreamdist3d.mesh import write_glb
from dreamdist3d.mesh.package import export_asset
from dreamdist3d.roads import Asset, lift_assets
from dreamdist3d.runs.prepare import Prepared
from dreamdist3d.runs.run import Run
from dreamdist3d.runs.source import field_source
from dreamdist3d.stopping import StopSignal


def write_views(field: Field, run: Run) -> None:
    """Stills and a turntable."""
    save_views(field, run.config.lift(), ensure_folder(run.trial.save_folder))


def export_mesh(field: Field, run: Run) -> None:
    """The surface that looks most like the field's own renders, as GLB, and as a game asset if a preset is set.

    Raises:
        UserError: the field is empty, or a file cannot be written.
    """
    source = field_source(field, run)
    write_glb(source.painted(run.mesh.max_triangles), run.trial.mesh)
    if run.package is not None:
        export_asset(source, run.trial.mesh.parent / run.package.preset, run.package)


_PHASES: tuple[tuple[str, Callable[[Field, Run], Any]], ...] = (("test", write_views), ("export", export_mesh))


def walk(runs: Sequence[Prepared]) -> list[UserError | None]:
    """Lift all runs in step, then show and export each; their folders must be locked by the caller.

    Returns:
        For each run None, or the error that ended it; the others are finished all the same. `run.json` tells it too.

    Raises:
        Stopped: on Ctrl-C or SIGTERM; everything is kept.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        for one in runs:
            write_text(one.run.trial.parsed_config, one.parsed)
            stack.enter_context(one.manifest.kept_true(one.run.trial.manifest_path))
        fields = _lifted(runs)
        return [_finished(one, field, stop) for one, field in zip(runs, fields, strict=True)]


def _lifted(runs: Sequence[Prepared]) -> list[Field | UserError]:
    assets = [
        Asset(
            one.condition,
            one.run.trial.folder,
            one.run.config.seed,
            _resume(one),
            one.manifest.at_step,
            one.manifest.identity,
            one.manifest.tell,
        )
        for one in runs
    ]
    with ExitStack() as stack:
        for one in runs:
            stack.enter_context(one.manifest.timed("lift"))
        return lift_assets(runs[0].road, runs[0].backbone, assets)


def _finished(one: Prepared, field: Field | UserError, stop: StopSignal) -> UserError | None:
    """Views and mesh of a lifted run; a stop between two phases is as good as one inside the lift."""
    if isinstance(field, UserError):
        one.manifest.end(field)
        return field
    try:
        for phase, work in _PHASES:
            if stop.requested:
                raise Stopped(f"{one.run.trial.folder}: stopped before {phase}; the same command goes on from there.")
            with one.manifest.timed(phase):
                work(field, one.run)
    except Stopped:
        raise
    except UserError as error:
        one.manifest.end(error)
        return error
    one.manifest.files = one.run.trial.results()
    one.manifest.end(None)
    return None


def _resume(one: Prepared) -> Path | None:
    """Where to go on from: what the user named as it is, the run's own checkpoints as far as they can be read."""
    checkpoint = one.checkpoint
    if checkpoint != one.run.trial.last_checkpoint:
        return checkpoint
    if not checkpoint.parent.exists():
        return None
    readable = last_readable(checkpoint)
    if readable != checkpoint and checkpoint.exists():
        where = f"goes on from {readable.name}" if readable else "begins again"
        print(f"warning: {checkpoint} is damaged; the run {where}.", file=sys.stderr)
    return readable
