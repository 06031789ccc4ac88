"""One run: prompt, lift, views, mesh; each started, resumed, tested or exported with the same draw."""

from pathlib import Path
from typing import Literal

from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.errors import UserError
from dreamdist3d.lift import load_field
from dreamdist3d.mesh import MeshSettings
from dreamdist3d.runs.export_settings import mesh_settings, package_settings
from dreamdist3d.runs.finish import export_mesh, write_views
from dreamdist3d.runs.prepare import prepare, resolve_device
from dreamdist3d.runs.trial import Trial, locate
from dreamdist3d.runs.walk import walk

Mode = Literal["train", "test", "export"]


def run_once(config: RunConfig, mode: Mode = "train") -> Trial:
    """Do one run, or the last steps of one again.

    `train` goes the whole road, from the last checkpoint if there is one, and leaves a finished run
    alone; `test` renders the views of a run again, `export` extracts its mesh again.

    Raises:
        UserError: something the user can mend; `run.json` keeps the line when the run had begun.
        Stopped: Ctrl-C or SIGTERM; the same command goes on.
    """
    # Made first, so that a bad value shows now and not after the lift.
    settings = mesh_settings(config.export)
    package_settings(config.export)
    device = resolve_device(config.system.device)
    trial, config = locate(config)
    if mode == "train":
        _train(trial, config)
    else:
        _finish_again(trial, config, settings, device, mode)
    return trial


def export_again(folder: Path) -> Trial:
    """Extract the mesh of a run's folder again, with the configuration it was made with.

    Raises:
        UserError: it is not the folder of a trained run.
    """
    trial = Trial(folder)
    if not trial.manifest_path.exists():
        raise UserError(f"{folder} is not the folder of a run: there is no run.json in it.")
    config = load_config(str(trial.parsed_config), [f"resume={trial.last_checkpoint}"])
    return run_once(config, "export")


def _train(trial: Trial, config: RunConfig) -> None:
    prepared = prepare(trial, config)
    if prepared is None:
        return
    with trial.locked():
        (error,) = walk([prepared])
    if error is not None:
        raise error


def _finish_again(trial: Trial, config: RunConfig, settings: MeshSettings, device: str, mode: Mode) -> None:
    checkpoint = Path(config.resume) if config.resume else trial.last_checkpoint
    manifest = trial.manifest()
    if manifest is None or not checkpoint.exists():
        raise UserError(f"--{mode} needs a trained run, and {checkpoint} is missing: give resume=RUN/ckpts/last.ckpt.")
    with trial.locked(), manifest.timed(mode):
        field = load_field(checkpoint, config.lift(), device, manifest.identity)
        (write_views if mode == "test" else export_mesh)(field, trial, config, settings)
    manifest.save(trial.manifest_path)
