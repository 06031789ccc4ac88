"""One run: prompt, lift, views, mesh; each started, resumed, tested or exported with the same draw."""

from pathlib import Path
from typing import Literal

from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.errors import UserError
from dreamdist3d.lift import load_field
from dreamdist3d.runs import trellis
from dreamdist3d.runs.engines import prepare, walk
from dreamdist3d.runs.prepare import resolve_device
from dreamdist3d.runs.run import Run, located
from dreamdist3d.runs.trial import Trial
from dreamdist3d.runs.walk import export_mesh, write_views

Mode = Literal["train", "test", "export"]


def run_once(config: RunConfig, mode: Mode = "train") -> Trial:
    """Do one run, or the last steps of one again.

    `train` goes the whole road, from the last checkpoint if there is one, and leaves a finished run
    alone; `test` renders the views of a run again, `export` extracts its mesh again.

    Raises:
        UserError: something the user can mend; `run.json` keeps the line when the run had begun.
        Stopped: Ctrl-C or SIGTERM; the same command goes on.
    """
    device = resolve_device(config.system.device)
    run = located(config)
    if mode == "train":
        _train(run)
    elif config.system.engine == "trellis":
        trellis.finish_again(run, mode)
    else:
        _finish_again(run, device, mode)
    return run.trial


def export_again(folder: Path) -> Trial:
    """Extract the mesh of a run's folder again, with the configuration it was made with.

    Raises:
        UserError: it is not the folder of a trained run.
    """
    trial = Trial(folder)
    trial.require_trained()
    return run_once(load_config(str(trial.parsed_config), [f"resume={trial.last_checkpoint}"]), "export")


def _train(run: Run) -> None:
    prepared = prepare(run)
    if prepared is None:
        return
    with run.trial.locked():
        (error,) = walk([prepared])
    if error is not None:
        raise error


def _finish_again(run: Run, device: str, mode: Mode) -> None:
    checkpoint = Path(run.config.resume) if run.config.resume else run.trial.last_checkpoint
    manifest = run.trial.manifest()
    if manifest is None or not checkpoint.exists():
        raise UserError(f"--{mode} needs a trained run, and {checkpoint} is missing: give resume=RUN/ckpts/last.ckpt.")
    with run.trial.locked(), manifest.timed(mode):
        field = load_field(checkpoint, run.config.lift(), device, manifest.identity)
        (write_views if mode == "test" else export_mesh)(field, run)
        if manifest.state == "done":
            manifest.files = run.trial.results()
    manifest.save(run.trial.manifest_path)
