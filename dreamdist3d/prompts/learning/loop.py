"""The loop of every learning: steps, a bar, checkpoints, and an end at any moment."""

from typing import Any, Protocol

import torch

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.progress import bar
from dreamdist3d.prompts.learning.checkpoint import Checkpoint
from dreamdist3d.prompts.learning.processes import ALONE, Processes
from dreamdist3d.stopping import StopSignal


class Trainee(Protocol):
    """What learns in steps. Step n depends on its settings and n alone, so that it can go on anywhere."""

    step: int

    @property
    def device(self) -> torch.device:
        """Where it learns."""

    def advance(self) -> float:
        """One step; returns the loss before it.

        Raises:
            FloatingPointError: the loss or its gradient is not finite; the state stays as it was.
        """

    def state(self) -> dict[str, Any]:
        """Tensors and scalars, for `load_state`."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""


def run(trainee: Trainee, checkpoint: Checkpoint, steps: int, stop: StopSignal, processes: Processes = ALONE) -> None:
    """Advance to `steps`.

    Raises:
        Stopped: `stop` was asked; a checkpoint is kept.
        UserError: a loss that is not finite; the state before it is kept.
    """
    with bar("learning", steps, done=trainee.step, shown=processes.leads) as progress:
        while trainee.step < steps:
            # Asked of all, so that all stop at one step: the others would wait for the missing one.
            if processes.any(stop.requested, trainee.device):
                _keep(trainee, checkpoint, processes)
                raise Stopped(
                    f"learning stopped at step {trainee.step} of {steps}, kept in {checkpoint.path}: "
                    "the same command goes on from there."
                )
            progress.advance(f"loss {_advance(trainee, checkpoint, processes):.4f}")
            if checkpoint.due(trainee.step):
                _keep(trainee, checkpoint, processes)


def _advance(trainee: Trainee, checkpoint: Checkpoint, processes: Processes) -> float:
    try:
        return trainee.advance()
    except FloatingPointError as error:
        _keep(trainee, checkpoint, processes)
        raise UserError(
            f"the loss is not finite at step {trainee.step} ({error}); {checkpoint.path} keeps the state before it. "
            "Try a smaller --lr with --restart."
        ) from error


def _keep(trainee: Trainee, checkpoint: Checkpoint, processes: Processes) -> None:
    if processes.leads:
        checkpoint.save(trainee.state())
