"""The training loop that every part of the miniature recipe shares: seeded, logged, resumable."""

import json
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import write_atomic
from dreamdist3d.mini.captured import Captured
from dreamdist3d.mini.parallel import average, rank
from dreamdist3d.progress import bar
from dreamdist3d.stopping import StopSignal

LOG_EVERY = 20

Loss = Callable[[torch.Generator], dict[str, Tensor]]


@dataclass
class Stage:
    """One network (or several trained together) and how to train it.

    `losses` names the kinds of step with their share; each maps a generator seeded for the step, on the models'
    device, to named scalars, of which "loss" is minimised. On a GPU a kind is captured as a CUDA graph: its shapes
    must not change from step to step, and nothing in it may wait for the GPU. Not `captured`, it may do both.
    """

    name: str
    models: Mapping[str, nn.Module]
    losses: Mapping[str, tuple[float, Loss]]
    steps: int
    lr: float
    lr_scale: Mapping[str, float] = field(default_factory=dict)  # per model name
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    warmup: int = 100
    ema_decay: float | None = None
    captured: bool = True
    on_checkpoint: Callable[[int], None] = lambda step: None


def run_stage(stage: Stage, folder: Path, seed: int, checkpoint_seconds: float = 240.0) -> None:
    """Train `stage` to its end, going on from `folder/<name>.ckpt` if there is one.

    Step n of process r draws all its randomness from (seed, n, r), so that a resumed run equals an
    uninterrupted one. At the end the models hold their averaged weights, when the stage keeps an average.

    Raises:
        Stopped: on Ctrl-C or SIGTERM, after a checkpoint.
        UserError: the loss or a gradient is not finite; the last checkpoint is kept.
    """
    trainer = _Trainer(stage, folder / f"{stage.name}.ckpt", seed)
    saved_at = time.monotonic()
    with StopSignal() as stop, bar(stage.name, stage.steps, trainer.step, shown=rank() == 0) as progress:
        while trainer.step < stage.steps:
            stopping = trainer.advance(stop.requested)
            last = trainer.step == stage.steps
            saving = rank() == 0 and (stopping or last or time.monotonic() - saved_at > checkpoint_seconds)
            # Only now and then on a GPU: reading a value makes the program wait for all that is under way.
            if trainer.on_cpu or saving or trainer.step % LOG_EVERY == 0:
                values = trainer.checked()
                progress.advance(f"loss {values['loss']:.4f}")
            else:
                progress.advance()
            if rank() == 0 and (trainer.step % LOG_EVERY == 0 or last):
                _log(folder / f"{stage.name}.jsonl", {"step": trainer.step, "time": round(time.time(), 1), **values})
            if saving:
                trainer.save()
                with trainer.averaged():
                    stage.on_checkpoint(trainer.step)
                saved_at = time.monotonic()
            if stopping:
                raise Stopped(f"{stage.name} stopped at step {trainer.step}; the same command goes on from there.")
    trainer.use_average()


def _log(path: Path, values: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


class _Trainer:
    def __init__(self, stage: Stage, path: Path, seed: int) -> None:
        self.stage, self.path, self.seed, self.step = stage, path, seed, 0
        groups: list[dict[str, Any]] = [
            {"params": list(model.parameters()), "scale": stage.lr_scale.get(name, 1.0)}
            for name, model in stage.models.items()
        ]
        self.parameters = [p for group in groups for p in group["params"]]
        self.device = self.parameters[0].device
        self.on_cpu = self.device.type == "cpu"
        self.optimizer = torch.optim.AdamW(
            groups, lr=stage.lr, betas=stage.betas, weight_decay=stage.weight_decay, fused=True
        )
        self.average = [p.detach().clone() for p in self.parameters] if stage.ema_decay else None
        self.generator = torch.Generator(self.device)
        self.kinds: dict[str, Any] = {
            name: Captured(loss, self.parameters, self.generator) if stage.captured and not self.on_cpu else loss
            for name, (_, loss) in stage.losses.items()
        }
        self.values: dict[str, Tensor] = {}
        if path.exists():
            self._load()

    def advance(self, stop: bool) -> bool:
        """One step; says whether any of the processes wants to stop."""
        stage = self.stage
        for group in self.optimizer.param_groups:
            group["lr"] = stage.lr * group["scale"] * self._schedule()
        number = (self.seed * 1_000_003 + self.step) * 64 + rank()
        self.generator.manual_seed(number)
        self.values = self._backward(self.kinds[self._kind(number)])
        with_grad = [p.grad for p in self.parameters if p.grad is not None]
        stopping = average(with_grad, stop)
        self.values["gradient"] = nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if self.on_cpu:
            self.checked()
        self.optimizer.step()
        self.step += 1
        if self.average is not None and stage.ema_decay is not None:
            # A young average must not remember the random start: ramp the decay up.
            decay = min(stage.ema_decay, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.parameters, 1.0 - decay)
        return stopping

    def _kind(self, number: int) -> str:
        shares = [share for share, _ in self.stage.losses.values()]
        return random.Random(number).choices(list(self.stage.losses), shares)[0]

    def _backward(self, loss: Loss) -> dict[str, Tensor]:
        if isinstance(loss, Captured):
            return loss.backward()
        values = loss(self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        values["loss"].backward()
        return {name: value.detach() for name, value in values.items()}

    def checked(self) -> dict[str, float]:
        """The last step's values as numbers.

        Raises:
            UserError: one of them is not finite.
        """
        values = {name: float(value) for name, value in self.values.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                what = f"{self.stage.name}: the {name} is not finite at step {self.step}"
                raise UserError(f"{what}; {self.path} keeps the last state.")
        return values

    def _schedule(self) -> float:
        if self.step < self.stage.warmup:
            return (self.step + 1) / self.stage.warmup
        progress = (self.step - self.stage.warmup) / max(1, self.stage.steps - self.stage.warmup)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def averaged(self) -> "_Swap":
        return _Swap(self.parameters, self.average)

    @torch.no_grad()
    def use_average(self) -> None:
        if self.average is not None:
            torch._foreach_copy_(self.parameters, self.average)

    def save(self) -> None:
        state = {
            "step": self.step,
            "models": {name: model.state_dict() for name, model in self.stage.models.items()},
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
        }
        write_atomic(self.path, lambda temporary: torch.save(state, temporary))

    def _load(self) -> None:
        state = torch.load(self.path, weights_only=True, map_location=self.device)
        for name, model in self.stage.models.items():
            model.load_state_dict(state["models"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step = state["average"], state["step"]


class _Swap:
    """Holds the averaged weights in the models while entered."""

    def __init__(self, parameters: list[Tensor], average: list[Tensor] | None) -> None:
        self.parameters, self.average = parameters, average

    @torch.no_grad()
    def __enter__(self) -> None:
        if self.average is not None:
            self.kept = [p.clone() for p in self.parameters]
            torch._foreach_copy_(self.parameters, self.average)

    @torch.no_grad()
    def __exit__(self, *_: object) -> None:
        if self.average is not None:
            torch._foreach_copy_(self.parameters, self.kept)
