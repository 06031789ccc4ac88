"""What every lift is given, and the lifts by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from dreamdist3d.backbones import Backbone
from dreamdist3d.errors import UserError
from dreamdist3d.guidance.base import Condition
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.config import LiftConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.members import Lift
from dreamdist3d.roads.config import LiftChoice

ROADS = {"distill": "dreamdist3d.roads.distill", "views": "dreamdist3d.roads.views"}
"""The module of each kind: its `lift(config, backbone, assets)`, and its `check(config, backbone)`."""


@dataclass(frozen=True)
class RoadConfig:
    """The sections that a lift is made of."""

    choice: LiftChoice
    lift: LiftConfig
    guidance: GuidanceConfig


@dataclass(frozen=True)
class Asset:
    """One of several assets made in step.

    Args:
        condition: what it is to become.
        folder, seed, resume, on_step, identity: as in `Lift`.
        tell: told by name what is worth keeping in the run's record.
    """

    condition: Condition
    folder: Path
    seed: int
    resume: Path | None = None
    on_step: Callable[[int], None] = lambda step: None
    identity: Mapping[str, str] = field(default_factory=dict)
    tell: Callable[[str, Any], None] = lambda name, value: None

    def pulled_by(self, guidance: Any) -> Lift:
        """The same asset as the optimisation takes it."""
        return Lift(guidance, self.folder, self.seed, self.resume, self.on_step, self.identity)


def lift_assets(config: RoadConfig, backbone: Backbone, assets: Sequence[Asset]) -> list[Field | UserError]:
    """Make all assets in step, the way the configuration names.

    Returns:
        For each its field, or the error that ended it; the others go on.

    Raises:
        Stopped: on Ctrl-C or SIGTERM, after a checkpoint of each.
    """
    return _road(config).lift(config, backbone, assets)


def check_road(config: RoadConfig, backbone: Backbone) -> None:
    """That the chosen lift can be walked with this backbone.

    Raises:
        UserError: it cannot; names the key to change.
    """
    _road(config).check(config, backbone)


def _road(config: RoadConfig) -> Any:
    return import_module(ROADS[config.choice.kind])
