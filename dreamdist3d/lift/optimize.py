"""The optimisation of fields under a guidance: one, or several in step; logged, checkpointed, resumable."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.lift.cameras import Cameras
from dreamdist3d.lift.checkpoints import LAST
from dreamdist3d.lift.config import LiftConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.renders import Renders
from dreamdist3d.lift.state import LiftState
from dreamdist3d.progress import bar
from dreamdist3d.stopping import StopSignal

Guidance = Callable[[Tensor, Cameras, float, torch.Generator, Tensor], Tensor]
Together = Callable[[Sequence[Any], Sequence[Renders]], Sequence[Tensor]]


@dataclass(frozen=True)
class Lift:
    """One of several lifts in step.

    Args:
        guidance: of this asset, as `together` takes it.
        folder: of the trial; gets `ckpts/last.ckpt` and tensorboard scalars in `tb_logs/`.
        seed: step n draws all its randomness from (seed, n): a resumed run equals an uninterrupted one.
        resume: a checkpoint to go on from.
        on_step: told the number of finished steps after each.
        identity: what it is lifted from, by name (such as the draw): kept in checkpoints, and checked in `resume`.
    """

    guidance: Any
    folder: Path
    seed: int
    resume: Path | None = None
    on_step: Callable[[int], None] = lambda step: None
    identity: Mapping[str, str] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Path:
        """Where the asset's state is kept."""
        return self.folder / "ckpts" / LAST


def lift(
    config: LiftConfig,
    guidance: Guidance,
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


def lift_together(
    config: LiftConfig, assets: Sequence[Lift], together: Together, device: str = "cpu"
) -> list[Field | UserError]:
    """Optimise several fields in step, each with an optimiser and a randomness of its own.

    Every asset takes the steps it would take alone. One that is behind the others, because its
    checkpoint is older, catches up first.

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
        members = [_Member(config, asset, device, stack) for asset in assets]
        stop = stack.enter_context(StopSignal())
        title = "lift" if len(assets) == 1 else f"lift of {len(assets)}"
        done = sum(member.state.step for member in members)
        progress = stack.enter_context(bar(title, config.max_steps * len(members), done))
        while active := [member for member in members if member.goes_on]:
            step = min(member.state.step for member in active)
            behind = [member for member in active if member.state.step == step]
            _advance(behind, together)
            for member in behind:
                member.keep(stop.requested)
            progress.advance(_note(behind), len(behind))
            unfinished = [member for member in members if member.goes_on]
            if stop.requested and unfinished:
                raise Stopped(_how_to_go_on(unfinished))
    return [member.error or member.state.field for member in members]


class _Member:
    """An asset, its state, and what has become of it."""

    def __init__(self, config: LiftConfig, asset: Lift, device: str, stack: ExitStack) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.asset, self.config = asset, config
        self.error: UserError | None = None
        self.values: dict[str, float] = {}
        self.state = LiftState(config, asset.seed, device, asset.identity)
        if asset.resume is not None:
            with self.failing():
                self.state.load(asset.resume)
        self.scalars = stack.enter_context(SummaryWriter(str(asset.folder / "tb_logs"), purge_step=self.state.step))

    @property
    def goes_on(self) -> bool:
        return self.error is None and self.state.step < self.config.max_steps

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Keep what the user can mend as this asset's own error."""
        try:
            yield
        except UserError as error:
            self.error = error
        except FloatingPointError as error:
            path = self.asset.checkpoint
            kept = f"{path} keeps the last good state" if path.exists() else "no checkpoint was due yet"
            self.error = UserError(
                f"{error} is not finite at step {self.state.step}; {kept}. Try a lower system.optimizer.lr."
            )

    def keep(self, now: bool) -> None:
        """Log a finished step, and write a checkpoint when one is due, or `now`."""
        if self.error is not None:
            return
        step = self.state.step
        self.asset.on_step(step)
        if step % self.config.log_every == 0:
            for name, value in self.values.items():
                self.scalars.add_scalar(f"train/{name}", value, step)
        if now or step == self.config.max_steps or step % self.config.checkpoint_every == 0:
            with self.failing():
                self.state.save(self.asset.checkpoint)


def _advance(members: Sequence[_Member], together: Together) -> None:
    """One step of each; a member whose loss or gradient is not finite keeps its error and its weights."""
    totals = []
    with ExitStack() as stack:
        steps = [stack.enter_context(member.state.rendered()) for member in members]
        losses = together([member.asset.guidance for member in members], [step.renders for step in steps])
        for member, step, loss in zip(members, steps, losses, strict=True):
            with member.failing():
                total, member.values = step.losses(loss)
                if not torch.isfinite(total):
                    raise FloatingPointError("the loss")
                totals.append(total)
    if totals:
        torch.stack(totals).sum().backward()
    for member in members:
        if member.error is None:
            with member.failing():
                member.state.descend()


def _one_by_one(guidances: Sequence[Guidance], renders: Sequence[Renders]) -> list[Tensor]:
    return [
        guidance(one.rgb, one.cameras, one.progress, one.generator, one.background)
        for guidance, one in zip(guidances, renders, strict=True)
    ]


def _note(members: Sequence[_Member]) -> str:
    losses = [member.values["loss"] for member in members if member.values]
    return f"loss {sum(losses) / len(losses):.3f}" if losses else ""


def _how_to_go_on(members: Sequence[_Member]) -> str:
    first, steps = members[0], members[0].config.max_steps
    if len(members) == 1:
        return f"stopped at step {first.state.step} of {steps}; resume={first.asset.checkpoint} goes on."
    return f"stopped at step {first.state.step} of {steps}; {len(members)} runs kept a checkpoint."


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
