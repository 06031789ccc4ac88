"""The optimisation of fields under a guidance: one, or several in step; logged, checkpointed, resumable."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.lift.cameras import Cameras
from dreamdist3d.lift.config import LiftConfig, LossConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.members import Lift, Member, in_step
from dreamdist3d.lift.renders import Guidance, Renders
from dreamdist3d.lift.state import LiftState

Judge = Callable[[Tensor, Cameras, float, torch.Generator, Tensor], Tensor]


@dataclass(frozen=True)
class Late:
    """A guidance that joins late.

    Attributes:
        since: the share of the lift at which it does, below 1.
        weights: of its loss and of the regularisers; None for the lift's own.
        beside: what is added to a member's loss.
    """

    since: float = 0.0
    weights: LossConfig | None = None
    beside: Callable[[Any], Tensor | float] = lambda member: 0.0


Together = Callable[[Sequence[Any], Sequence[Renders]], Sequence[Tensor]]


def lift(
    config: LiftConfig,
    guidance: Judge,
    folder: Path,
    seed: int,
    device: str = "cpu",
    resume: Path | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Field:
    """Optimise a field until renders of it please `guidance`.

    Args:
        config: cameras, field, renderer, losses, optimiser.
        guidance: maps renders [B, 3, H, W] in [0, 1], their cameras, the progress in [0, 1], a CPU generator
            and the background colour [3] to a scalar loss.
        folder, seed, resume, on_step: as in `Lift`.
        device: where the field lives.

    Raises:
        Stopped: on Ctrl-C or SIGTERM, after a checkpoint.
        UserError: the loss or a gradient is not finite (the last checkpoint is kept), or the checkpoint does not fit.
    """
    (outcome,) = lift_together(config, [Lift(guidance, folder, seed, resume, on_step)], _one_by_one, device)
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def together(guidances: Sequence[Guidance], renders: Sequence[Renders]) -> list[Tensor]:
    """The losses of several assets, a scalar each, whose guidances are of one kind."""
    return guidances[0].losses(renders, guidances[1:])


def lift_together(
    config: LiftConfig, assets: Sequence[Lift], together: Together = together, device: str = "cpu"
) -> list[Field | UserError]:
    """Optimise several fields in step, each with an optimiser and a randomness of its own.

    Every asset takes the steps it would take alone. One that is behind the others, because its
    checkpoint is older, catches up first. A `Guidance` with a state of its own keeps it in the asset's checkpoint.

    Args:
        config: the same for all.
        assets: what to lift.
        together: maps the assets' guidances and renders to their losses, one scalar each.
        device: where the fields live.

    Returns:
        For each asset its field, or the error that ended it; the others go on.

    Raises:
        Stopped: on Ctrl-C or SIGTERM, after a checkpoint of each.
    """
    with ExitStack() as stack:
        members = [Member(config, asset, device, stack, _beside(asset.guidance)) for asset in assets]
        in_step(members, lambda behind: advance(behind, together))
    return [member.outcome for member in members]


def _beside(guidance: Any) -> dict[str, Guidance]:
    return {"guidance": guidance} if isinstance(guidance, Guidance) else {}


def advance(members: Sequence[Any], together: Together = together, late: "Late | None" = None) -> None:
    """One step of each; a member whose loss or gradient is not finite keeps its error and its weights.

    Args:
        members: of one configuration, equally far.
        together: as in `lift_together`.
        late: what is different where the guidance joins a lift that something else has begun.
    """
    totals = []
    late = late or Late()
    with ExitStack() as stack:
        steps = [stack.enter_context(member.state.rendered(late.since)) for member in members]
        losses = together([member.asset.guidance for member in members], [step.renders for step in steps])
        for member, step, loss in zip(members, steps, losses, strict=True):
            with member.failing():
                total, member.values = step.losses(loss, late.weights)
                total = total + late.beside(member)
                if not torch.isfinite(total):
                    raise FloatingPointError("the loss")
                totals.append(total)
    if totals:
        torch.stack(totals).sum().backward()
    for member in members:
        if member.error is None:
            with member.failing():
                member.state.descend()
                if isinstance(member.asset.guidance, Guidance):
                    member.asset.guidance.after_step()


def _one_by_one(guidances: Sequence[Judge], renders: Sequence[Renders]) -> list[Tensor]:
    return [
        guidance(one.rgb, one.cameras, one.progress, one.generator, one.background)
        for guidance, one in zip(guidances, renders, strict=True)
    ]


def load_field(
    checkpoint: Path, config: LiftConfig, device: str = "cpu", identity: Mapping[str, str] | None = None
) -> Field:
    """The field of a checkpoint that `lift` wrote.

    Raises:
        UserError: missing, damaged, of another geometry, or of an asset of another identity.
    """
    state = LiftState(config, 0, device, identity)
    state.load(checkpoint)
    return state.field
