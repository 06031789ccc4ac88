"""Runs whose engine is TRELLIS: its mesh in place of a lift, then views, mesh and package as ever."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.backbones import has_fingerprint
from dreamdist3d.config import RunConfig, SystemConfig, to_yaml
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import ensure_folder, write_text
from dreamdist3d.licences import Terms
from dreamdist3d.mesh import write_glb
from dreamdist3d.mesh.package import AssetSource, export_asset
from dreamdist3d.mesh.package.views import save_mesh_views
from dreamdist3d.prompts import PromptDraw, PromptSource
from dreamdist3d.runs.condition import encode_negative, open_distribution, origin_of
from dreamdist3d.runs.manifest import Manifest, current_versions
from dreamdist3d.runs.prepare import device_name, resolve_device
from dreamdist3d.runs.run import Run
from dreamdist3d.runs.trial import Trial
from dreamdist3d.stopping import StopSignal
from dreamdist3d.trellis.licences import terms_of_asset
from dreamdist3d.trellis.made import Made
from dreamdist3d.trellis.pipeline import TextTo3D, open_pipeline

_NAME = "trellis"  # as a run's record calls it where others name a backbone


@dataclass(frozen=True)
class PreparedTrellis:
    """A run whose draw is encoded; nothing of it is written yet."""

    run: Run
    models: TextTo3D
    text: Tensor  # [L, D]
    negative: Tensor  # [L, D]
    manifest: Manifest


def open_models(system: SystemConfig) -> TextTo3D:
    """Load TRELLIS's pipeline.

    Raises:
        UserError: as `open_pipeline`, or there is no such device.
    """
    return open_pipeline(system.trellis, resolve_device(system.device))


def prepare(run: Run, models: TextTo3D | None = None) -> PreparedTrellis | None:
    """Open the distribution, load TRELLIS if it is not given, encode the draw; None for a finished run.

    Raises:
        UserError: whatever the user can mend, before a file is written or a second is spent.
    """
    trial, processor, recorded = run.trial, run.config.system.prompt_processor, run.trial.manifest()
    distribution = open_distribution(processor)
    begun = recorded if recorded is not None and recorded.backbone is not None else None
    if begun is not None and begun.state == "done":
        if (lacking := trial.lacks(begun)) is None:
            return None
        print(f"{trial.folder / lacking} is gone or cut off, and is made again.", file=sys.stderr)
    models = models or open_models(run.config.system)
    if distribution is not None:
        distribution.check_text_side(models.text)
    if begun is not None:
        _check_same(trial, begun, distribution, models)
    text, draw = _encoded(run, distribution, models, begun)
    negative = encode_negative(models.encoder, [processor.negative_prompt])[0]
    origin = None if distribution is None else origin_of(processor, distribution)
    return PreparedTrellis(run, models, text, negative, _record(run.config, models, draw, origin, recorded))


def walk(runs: Sequence[PreparedTrellis]) -> list[UserError | None]:
    """Make, show and export each, one after the other; their folders must be locked by the caller.

    Returns:
        For each run None, or the error that ended it.

    Raises:
        Stopped: on Ctrl-C or SIGTERM, between two steps.
    """
    with StopSignal() as stop:
        return [_walked(one, stop) for one in runs]


def finish_again(run: Run, mode: str) -> None:
    """Show or export a run again from what TRELLIS made of it.

    Raises:
        UserError: nothing was made yet.
    """
    manifest = run.trial.manifest()
    if manifest is None or not run.trial.last_checkpoint.exists():
        raise UserError(f"--{mode} needs a run with what TRELLIS made: {run.trial.last_checkpoint} is missing.")
    with run.trial.locked(), manifest.timed(mode):
        source = run_source(run)
        _show(source, run) if mode == "test" else _export(source, run)
        if manifest.state == "done":
            manifest.files = run.trial.results()
    manifest.save(run.trial.manifest_path)


def run_source(run: Run) -> AssetSource:
    """The asset of a run, from what TRELLIS made.

    Raises:
        UserError: nothing was made yet, or it is damaged.
    """
    manifest = run.trial.manifest() or Manifest()
    return _source(Made.load(run.trial.last_checkpoint, manifest.identity), run, manifest)


def is_of_trellis(manifest: Manifest) -> bool:
    """Whether TRELLIS made, or is to make, a run's asset."""
    return (manifest.config.get("system") or {}).get("engine") == _NAME


def terms_of(manifest: Manifest) -> list[Terms]:
    """Of the weights and parts that had a hand in a run's asset."""
    section = manifest.config["system"]["trellis"]
    return terms_of_asset(section["model"], section["appearance"])


def _encoded(
    run: Run, distribution: PromptSource | None, models: TextTo3D, begun: Manifest | None
) -> tuple[Tensor, dict[str, Any] | None]:
    """The prompt [L, D], and what is recorded of its draw."""
    processor, encoder = run.config.system.prompt_processor, models.encoder
    if distribution is None:
        return encoder.encode_text([processor.prompt]).hidden[0].detach(), None
    words = processor.prefix, processor.suffix
    draw = distribution.draw(processor.chosen_seed, processor.gamma, *words, processor.antithetic)
    moments = distribution.moments_for(draw, encoder)
    if begun is not None and begun.draw is not None:
        PromptDraw.from_dict(begun.draw, moments)
    return draw.embed(moments), draw.to_dict(moments)


def _record(
    config: RunConfig,
    models: TextTo3D,
    draw: dict[str, Any] | None,
    origin: dict[str, Any] | None,
    recorded: Manifest | None,
) -> Manifest:
    return Manifest(
        draw=draw,
        distribution=origin,
        config=asdict(config),
        backbone={
            "name": _NAME,
            "source": config.system.trellis.model,
            "sha256": models.text.fingerprint,
            "weights_sha256": models.weights_sha256,
        },
        versions=current_versions(),
        device=device_name(torch.device(models.device)),
        timings=dict(recorded.timings) if recorded else {},
        attempts=recorded.attempts if recorded else 0,
        step=recorded.step if recorded else 0,
        max_steps=1,
    )


def _check_same(trial: Trial, begun: Manifest, distribution: PromptSource | None, models: TextTo3D) -> None:
    was, now = (begun.distribution or {}).get("sha256"), None if distribution is None else distribution.content_hash
    backbone = begun.backbone or {}
    same_weights = has_fingerprint(models.text, backbone.get("sha256", "")) and (
        backbone.get("weights_sha256") == models.weights_sha256
    )
    for what, is_same in (("distribution", was == now), ("engine or weights", same_weights)):
        if not is_same:
            raise UserError(f"{trial.folder} was begun with another {what}: put it back, or choose another tag.")


def _walked(one: PreparedTrellis, stop: StopSignal) -> UserError | None:
    trial, manifest = one.run.trial, one.manifest
    write_text(trial.parsed_config, to_yaml(replace(one.run.config, resume=None)))
    with manifest.kept_true(trial.manifest_path):
        try:
            with manifest.timed("lift"):
                made = _made(one)
            source = _source(made, one.run, manifest)
            for phase, work in (("test", _show), ("export", _export)):
                if stop.requested:
                    raise Stopped(f"{trial.folder}: stopped before {phase}; the same command goes on from there.")
                with manifest.timed(phase):
                    work(source, one.run)
        except Stopped:
            raise
        except UserError as error:
            manifest.end(error)
            return error
        manifest.files = trial.results()
        manifest.end(None)
        return None


def _made(one: PreparedTrellis) -> Made:
    """What was made by an earlier start, else now."""
    path, identity = one.run.trial.last_checkpoint, one.manifest.identity
    if path.exists():
        try:
            made = Made.load(path, identity)
            one.manifest.at_step(1)
            return made
        except UserError as error:
            print(f"warning: {error} It is made again.", file=sys.stderr)
    made = one.models.make(one.text, one.negative, one.run.config.seed)
    made.save(path, identity)
    one.manifest.at_step(1)
    return made


def _source(made: Made, run: Run, manifest: Manifest) -> AssetSource:
    processor = run.config.system.prompt_processor
    origin = {
        "kind": "run",
        "engine": _NAME,
        "path": str(run.trial.folder),
        "seed": run.config.seed,
        "prompt": processor.prompt or None,
        "draw": manifest.draw,
        "distribution": manifest.distribution,
        "backbone": manifest.backbone,
    }
    return made.source(run.trial.folder.name, origin, tuple(_licences(manifest)))


def _licences(manifest: Manifest) -> list[Terms]:
    from dreamdist3d.backbones.licences import terms_of_run

    return [*terms_of(manifest), *terms_of_run(None, (manifest.distribution or {}).get("learned_with"))]


def _show(source: AssetSource, run: Run) -> None:
    save_mesh_views(source.painted(run.mesh.max_triangles), ensure_folder(Path(run.trial.save_folder)))


def _export(source: AssetSource, run: Run) -> None:
    write_glb(source.painted(run.mesh.max_triangles), run.trial.mesh)
    if run.package is not None:
        export_asset(source, run.trial.mesh.parent / run.package.preset, run.package)
