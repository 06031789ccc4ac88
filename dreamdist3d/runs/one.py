"""One run: prompt, lift, views, mesh; each started, resumed, tested or exported with the same draw."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch

from dreamdist3d.backbones import (
    Backbone,
    compile_unet,
    load_backbone,
    release_text_encoder,
    resolve_precision,
    set_precision,
)
from dreamdist3d.config import RunConfig, SystemConfig, load_config, to_yaml
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import ensure_folder, write_text
from dreamdist3d.guidance import MultiviewGuidance
from dreamdist3d.lift import Field, lift, load_field, render_silhouettes, save_views
from dreamdist3d.mesh import MeshSettings, Silhouettes, extract_mesh, write_glb
from dreamdist3d.runs.condition import Condition, encode_condition, open_distribution
from dreamdist3d.runs.manifest import Manifest, current_versions
from dreamdist3d.runs.trial import Trial, locate
from dreamdist3d.stopping import StopSignal

Mode = Literal["train", "test", "export"]

_MINI_HINT = "To try it on any machine: --config dreamdist3d/mini.yaml"


def run_once(config: RunConfig, mode: Mode = "train") -> Trial:
    """Do one run, or the last steps of one again.

    `train` goes the whole road, from the last checkpoint if there is one, and leaves a finished run
    alone; `test` renders the views of a run again, `export` extracts its mesh again.

    Raises:
        UserError: something the user can mend; `run.json` keeps the line when the run had begun.
        Stopped: Ctrl-C or SIGTERM; the same command goes on.
    """
    # Made first, so that a bad value shows now and not after the lift.
    settings = MeshSettings(**asdict(config.export))
    device = resolve_device(config.system.device)
    trial, config = locate(config)
    if mode == "train":
        _train(trial, config, settings, device)
    else:
        _finish_again(trial, config, settings, device, mode)
    return trial


def resolve_device(wanted: str) -> str:
    """`auto` is cuda where there is one.

    Raises:
        UserError: cuda is asked for and not there.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError(f"system.device is cuda, but torch finds no CUDA GPU here. {_MINI_HINT}")
    return ("cuda" if available else "cpu") if wanted == "auto" else wanted


def open_backbone(system: SystemConfig, device: str) -> Backbone:
    """Load the diffusion model; when weights are missing the error also names the configuration that needs none."""
    try:
        backbone = load_backbone(system.backbone, device)
    except UserError as error:
        hint = "" if system.backbone == "mini" else f" {_MINI_HINT}"
        raise UserError(f"{error}{hint}") from error
    set_precision(backbone, resolve_precision(system.precision, device))
    backbone.low_vram = system.low_vram
    return compile_unet(backbone) if system.compile else backbone


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


def _train(trial: Trial, config: RunConfig, settings: MeshSettings, device: str) -> None:
    processor, recorded = config.system.prompt_processor, trial.manifest()
    distribution = open_distribution(processor)
    if recorded is not None:
        _check_same(trial, "distribution", recorded.distribution, distribution and distribution.content_hash)
        if recorded.state == "done":
            return
    backbone = open_backbone(config.system, device)
    if config.data.n_view % backbone.n_views:
        raise UserError(
            f"data.n_view is {config.data.n_view}, but backbone {backbone.name} sees {backbone.n_views} views at once: "
            f"set it to a multiple of {backbone.n_views}."
        )
    if distribution is not None:
        distribution.check_encoder(backbone.fingerprint)
    if recorded is not None:
        _check_same(trial, "backbone", recorded.backbone, backbone.fingerprint)
    condition = encode_condition(processor, distribution, backbone, recorded and recorded.draw)
    release_text_encoder(backbone)
    with trial.locked():
        manifest = _record(config, condition, backbone, recorded)
        write_text(trial.parsed_config, to_yaml(replace(config, resume=None)))
        guidance = MultiviewGuidance(backbone, condition.text, condition.negative, config.system.guidance)
        _walk(trial, config, settings, device, guidance, manifest)


def _walk(
    trial: Trial,
    config: RunConfig,
    settings: MeshSettings,
    device: str,
    guidance: MultiviewGuidance,
    manifest: Manifest,
) -> None:
    """Lift, views, mesh; a stop between two of them is as good as one inside the lift."""
    checkpoint = _checkpoint(trial, config)
    resume = checkpoint if checkpoint.exists() else None
    with StopSignal() as stop, manifest.recording(trial.manifest_path):
        with manifest.timed("lift"):
            field = lift(config.lift(), guidance, trial.folder, seed=config.seed, device=device, resume=resume)
        for phase, work in (("test", _save_views), ("export", _export_mesh)):
            if stop.requested:
                raise Stopped(f"{trial.folder}: stopped before {phase}; the same command goes on from there.")
            with manifest.timed(phase):
                work(field, trial, config, settings)


def _finish_again(trial: Trial, config: RunConfig, settings: MeshSettings, device: str, mode: Mode) -> None:
    checkpoint, manifest = _checkpoint(trial, config), trial.manifest()
    if manifest is None or not checkpoint.exists():
        raise UserError(f"--{mode} needs a trained run, and {checkpoint} is missing: give resume=RUN/ckpts/last.ckpt.")
    with trial.locked(), manifest.timed(mode):
        field = load_field(checkpoint, config.lift(), device)
        (_save_views if mode == "test" else _export_mesh)(field, trial, config, settings)
    manifest.save(trial.manifest_path)


def _checkpoint(trial: Trial, config: RunConfig) -> Path:
    return Path(config.resume) if config.resume else trial.last_checkpoint


def _record(config: RunConfig, condition: Condition, backbone: Backbone, recorded: Manifest | None) -> Manifest:
    return Manifest(
        draw=condition.draw,
        distribution=condition.distribution,
        config=asdict(config),
        backbone={"name": backbone.name, "source": backbone.source, "sha256": backbone.fingerprint},
        versions=current_versions(),
        timings=dict(recorded.timings) if recorded else {},
    )


def _check_same(trial: Trial, what: str, recorded: dict[str, Any] | None, now: str | None) -> None:
    was = (recorded or {}).get("sha256")
    if was != now:
        raise UserError(
            f"{trial.folder} was begun with another {what} (sha256 {_short(was)}, now {_short(now)}); "
            "put it back, or choose another tag for a new run."
        )


def _short(sha256: str | None) -> str:
    return sha256[:12] if sha256 else "none"


def _save_views(field: Field, trial: Trial, config: RunConfig, settings: MeshSettings) -> None:
    save_views(field, config.lift(), ensure_folder(trial.save_folder))


def _export_mesh(field: Field, trial: Trial, config: RunConfig, settings: MeshSettings) -> None:
    silhouettes = Silhouettes(*render_silhouettes(field, config.lift()))
    device = str(next(field.parameters()).device)
    with field.cached():
        mesh = extract_mesh(field.density, field.color, field.radius, settings, silhouettes, device)
    write_glb(mesh, trial.mesh)
