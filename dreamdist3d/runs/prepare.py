"""Everything about a run that can be known, and go wrong, before its lift."""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dreamdist3d.backbones import (
    Backbone,
    compile_unet,
    has_fingerprint,
    load_backbone,
    release_text_encoder,
    resolve_precision,
    set_precision,
)
from dreamdist3d.config import RunConfig, SystemConfig, to_yaml
from dreamdist3d.errors import UserError
from dreamdist3d.guidance import Condition
from dreamdist3d.roads import RoadConfig, check_road
from dreamdist3d.runs.condition import encode_condition, open_distribution
from dreamdist3d.runs.manifest import Manifest, current_versions
from dreamdist3d.runs.run import Run
from dreamdist3d.runs.trial import Trial

MINI_HINT = "To try it on any machine: --config dreamdist3d/mini.yaml"


@dataclass(frozen=True)
class Prepared:
    """A run whose draw is encoded; nothing of it is written yet."""

    run: Run
    backbone: Backbone
    condition: Condition
    manifest: Manifest

    @property
    def road(self) -> RoadConfig:
        """What its lift is made of."""
        return road_of(self.run.config)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to go on from, if it exists."""
        return Path(self.run.config.resume) if self.run.config.resume else self.run.trial.last_checkpoint

    @property
    def parsed(self) -> str:
        """The resolved configuration, as it is left in the trial's folder."""
        return to_yaml(replace(self.run.config, resume=None))


def prepare(run: Run, backbone: Backbone | None = None) -> Prepared | None:
    """Open the distribution, load the backbone if it is not given, encode the draw; None for a finished run.

    A run that is called finished and lacks one of its files is not: it is prepared to go on from its checkpoint.

    Raises:
        UserError: whatever the user can mend, before a file is written or a minute is spent.
    """
    trial, config = run.trial, run.config
    processor, recorded = config.system.prompt_processor, trial.manifest()
    distribution = open_distribution(processor)
    begun = recorded if recorded is not None and recorded.backbone is not None else None  # a batch records before that
    if begun is not None:
        _check_lift(trial, begun, config)
        now = None if distribution is None else distribution.content_hash
        _check_same(trial, "distribution", begun.distribution, now)
        if begun.state == "done":
            if (lacking := trial.lacks(begun)) is None:
                return None
            print(f"{trial.folder / lacking} is gone or cut off, and is made again.", file=sys.stderr)
    if backbone is None:
        backbone = open_backbone(config.system)
    check_road(road_of(config), backbone)
    if distribution is not None:
        distribution.check_model(backbone)
    if begun is not None:
        _check_backbone(trial, begun.backbone or {}, backbone)
    condition = encode_condition(processor, distribution, backbone, begun.draw if begun else None)
    release_text_encoder(backbone)
    return Prepared(run, backbone, condition, _record(config, condition, backbone, recorded))


def road_of(config: RunConfig) -> RoadConfig:
    """The sections that a run's lift is made of."""
    return RoadConfig(config.system.lift, config.lift(), config.system.guidance)


def resolve_device(wanted: str) -> str:
    """`auto` is cuda where there is one.

    Raises:
        UserError: cuda is asked for and not there.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError(f"system.device is cuda, but torch finds no CUDA GPU here. {MINI_HINT}")
    return ("cuda" if available else "cpu") if wanted == "auto" else wanted


def open_backbone(system: SystemConfig) -> Backbone:
    """Load the diffusion model; when weights are missing the error also names the configuration that needs none."""
    device = resolve_device(system.device)
    try:
        backbone = load_backbone(system.backbone, device)
    except UserError as error:
        hint = "" if system.backbone == "mini" else f" {MINI_HINT}"
        raise UserError(f"{error}{hint}") from error
    set_precision(backbone, resolve_precision(system.precision, device))
    backbone.low_vram = system.low_vram
    return compile_unet(backbone) if system.compile else backbone


def _record(config: RunConfig, condition: Condition, backbone: Backbone, recorded: Manifest | None) -> Manifest:
    return Manifest(
        draw=condition.draw,
        distribution=condition.distribution,
        config=asdict(config),
        backbone={
            "name": backbone.name,
            "source": backbone.source,
            "sha256": backbone.fingerprint,
            "weights_sha256": backbone.identity,
        },
        versions=current_versions(),
        device=device_name(backbone.device),
        timings=dict(recorded.timings) if recorded else {},
        step=recorded.step if recorded else 0,
        attempts=recorded.attempts if recorded else 0,
        max_steps=config.lift().max_steps,
        lift=dict(recorded.lift) if recorded else {},
    )


def device_name(device: torch.device) -> str:
    """The GPU's own name, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _check_lift(trial: Trial, begun: Manifest, config: RunConfig) -> None:
    system = begun.config.get("system")
    section = system.get("lift") if isinstance(system, dict) else None
    was = section.get("kind", "distill") if isinstance(section, dict) else "distill"  # what earlier versions did
    if was != (now := config.system.lift.kind):
        raise UserError(
            f"{trial.folder} was begun with system.lift.kind={was}, not {now}; put it back, or choose another tag for "
            "a new run."
        )


def _check_backbone(trial: Trial, recorded: dict[str, str], backbone: Backbone) -> None:
    if not has_fingerprint(backbone, recorded.get("sha256", "")):
        _check_same(trial, "backbone", recorded, backbone.fingerprint)
    if (was := recorded.get("weights_sha256")) is not None:  # earlier versions did not record it
        _check_same(trial, "backbone", {"sha256": was}, backbone.identity)


def _check_same(trial: Trial, what: str, recorded: dict[str, Any] | None, now: str | None) -> None:
    was = (recorded or {}).get("sha256")
    if was != now:
        raise UserError(
            f"{trial.folder} was begun with another {what} (sha256 {_short(was)}, now {_short(now)}); "
            "put it back, or choose another tag for a new run."
        )


def _short(sha256: str | None) -> str:
    return sha256[:12] if sha256 else "none"
