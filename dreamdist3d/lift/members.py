"""Assets made in step, whatever a step of them is: logged, checkpointed, resumable; one that fails fails alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.lift.checkpoints import LAST
from dreamdist3d.lift.config import LiftConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.state import LiftState, Stateful
from dreamdist3d.progress import bar
from dreamdist3d.stopping import StopSignal


@dataclass(frozen=True)
class Lift:
    """One of several lifts in step.

    Args:
        guidance: of this asset; what it is depends on the lift.
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


class Member:
    """An asset, its state, and what has become of it."""

    def __init__(
        self,
        config: LiftConfig,
        asset: Lift,
        device: str,
        stack: ExitStack,
        beside: Mapping[str, Stateful] | None = None,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.asset, self.config = asset, config
        self.error: UserError | None = None
        self.values: dict[str, float] = {}
        self.state = LiftState(config, asset.seed, device, asset.identity, beside)
        if asset.resume is not None:
            with self.failing():
                self.state.load(asset.resume)
        self.scalars = stack.enter_context(SummaryWriter(str(asset.folder / "tb_logs"), purge_step=self.state.step))

    @property
    def goes_on(self) -> bool:
        """Whether there is a step to be taken."""
        return self.error is None and self.state.step < self.config.max_steps

    @property
    def outcome(self) -> Field | UserError:
        """The field, or the error that ended it."""
        return self.error or self.state.field

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


Steps = Callable[[Sequence[Member]], None]


def in_step(members: Sequence[Member], advance: Steps, title: str = "lift") -> None:
    """Take all steps of all members; one that is behind, because its checkpoint is older, catches up first.

    Args:
        members: of one configuration.
        advance: takes one step of each of the members it is given, which are equally far, and keeps their errors.
        title: of the progress bar.

    Raises:
        Stopped: on Ctrl-C or SIGTERM, after a checkpoint of each.
    """
    total, done = sum(member.config.max_steps for member in members), sum(member.state.step for member in members)
    with StopSignal() as stop, bar(title if len(members) == 1 else f"{title} of {len(members)}", total, done) as shown:
        while active := [member for member in members if member.goes_on]:
            step = min(member.state.step for member in active)
            behind = [member for member in active if member.state.step == step]
            advance(behind)
            asked = stop.requested  # once: whoever asks while some have kept theirs is heard after the next step
            for member in behind:
                member.keep(asked)
            shown.advance(_note(behind), len(behind))
            unfinished = [member for member in members if member.goes_on]
            if asked and unfinished:
                raise Stopped(_how_to_go_on(unfinished))


def _note(members: Sequence[Member]) -> str:
    losses = [member.values["loss"] for member in members if member.values]
    return f"loss {sum(losses) / len(losses):.3f}" if losses else ""


def _how_to_go_on(members: Sequence[Member]) -> str:
    first, steps = members[0], members[0].config.max_steps
    if len(members) == 1:
        return f"stopped at step {first.state.step} of {steps}; resume={first.asset.checkpoint} goes on."
    return f"stopped at step {first.state.step} of {steps}; {len(members)} runs kept a checkpoint."
