"""Prepared runs, one or several in step, through lift, views and mesh."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.guidance import guide_together
from dreamdist3d.lift import Field
from dreamdist3d.lift.checkpoints import last_readable
from dreamdist3d.lift.optimize import Asset, lift_together
from dreamdist3d.runs.finish import export_mesh, write_views
from dreamdist3d.runs.prepare import Prepared
from dreamdist3d.stopping import StopSignal

_PHASES: tuple[tuple[str, Callable[..., Any]], ...] = (("test", write_views), ("export", export_mesh))


def walk(runs: Sequence[Prepared]) -> list[UserError | None]:
    """Lift all runs in step, then show and export each; their folders must be locked by the caller.

    Returns:
        For each run None, or the error that ended it; the others are finished all the same. `run.json` tells it too.

    Raises:
        Stopped: on Ctrl-C or SIGTERM; everything is kept.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        for run in runs:
            run.write_config()
            stack.enter_context(run.manifest.kept_true(run.trial.manifest_path))
        fields = _lifted(runs)
        return [_finished(run, field, stop) for run, field in zip(runs, fields, strict=True)]


def _lifted(runs: Sequence[Prepared]) -> list[Field | UserError]:
    assets = [
        Asset(
            run.guidance,
            run.trial.folder,
            run.config.seed,
            _resume(run),
            run.manifest.at_step,
            run.manifest.identity,
        )
        for run in runs
    ]
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(run.manifest.timed("lift"))
        return lift_together(runs[0].config.lift(), assets, guide_together, runs[0].device)


def _finished(run: Prepared, field: Field | UserError, stop: StopSignal) -> UserError | None:
    """Views and mesh of a lifted run; a stop between two phases is as good as one inside the lift."""
    if isinstance(field, UserError):
        run.manifest.end(field)
        return field
    try:
        for phase, work in _PHASES:
            if stop.requested:
                raise Stopped(f"{run.trial.folder}: stopped before {phase}; the same command goes on from there.")
            with run.manifest.timed(phase):
                work(field, run.trial, run.config, run.settings)
    except Stopped:
        raise
    except UserError as error:
        run.manifest.end(error)
        return error
    run.manifest.end(None)
    return None


def _resume(run: Prepared) -> Path | None:
    """Where to go on from: what the user named as it is, the run's own checkpoints as far as they can be read."""
    checkpoint = run.checkpoint
    if checkpoint != run.trial.last_checkpoint:
        return checkpoint
    if not checkpoint.parent.exists():
        return None
    readable = last_readable(checkpoint)
    if readable != checkpoint and checkpoint.exists():
        where = f"goes on from {readable.name}" if readable else "begins again"
        print(f"warning: {checkpoint} is damaged; the run {where}.", file=sys.stderr)
    return readable
