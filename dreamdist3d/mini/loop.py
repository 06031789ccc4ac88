"""The training loop that every part of the miniature recipe shares: seeded, logged, resumable."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import write_atomic
from dreamdist3d.mini.parallel import average, rank
from dreamdist3d.progress import bar
from dreamdist3d.stopping import StopSignal


@dataclass
class Stage:
    """One network (or several trained together) and how to train it.

    `loss` maps a generator seeded for the step to named scalars, of which "loss" is minimised.
    """

    name: str
    models: Mapping[str, nn.Module]
    loss: Callable[[torch.Generator], dict[str, Tensor]]
    steps: int
    lr: float
    lr_scale: Mapping[str, float] = field(default_factory=dict)  # per model name
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    warmup: int = 100
    ema_decay: float | None = None
    on_checkpoint: Callable[[int], None] = lambda step: None


def run_stage(stage: Stage, folder: Path, seed: int, checkpoint_seconds: float = 240.0) -> None:
    """Train `stage` to its end, going on from `folder/<name>.ckpt` if there is one.

    Step n of process r draws all its randomness from (seed, n, r), so that a resumed run equals an
    uninterrupted one. At the end the models hold their averaged weights, when the stage keeps an average.

    Raises:
        Stopped: on Ctrl-C or SIGTERM, after a checkpoint.
        UserError: the loss is not finite; the last checkpoint is kept.
    """
    trainer = _Trainer(stage, folder / f"{stage.name}.ckpt")
    saved_at = time.monotonic()
    with StopSignal() as stop, bar(stage.name, stage.steps, trainer.step, shown=rank() == 0) as progress:
        while trainer.step < stage.steps:
            generator = torch.Generator().manual_seed((seed * 1_000_003 + trainer.step) * 64 + rank())
            values, stopping = trainer.advance(generator, stop.requested)
            progress.advance(f"loss {values['loss']:.4f}")
            last = trainer.step == stage.steps
            if rank() == 0 and (trainer.step % 20 == 0 or last):
                _log(folder / f"{stage.name}.jsonl", {"step": trainer.step, "time": round(time.time(), 1), **values})
            if rank() == 0 and (stopping or last or time.monotonic() - saved_at > checkpoint_seconds):
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
    def __init__(self, stage: Stage, path: Path) -> None:
        self.stage, self.path, self.step = stage, path, 0
        groups = [
            {"params": list(model.parameters()), "scale": stage.lr_scale.get(name, 1.0)}
            for name, model in stage.models.items()
        ]
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimizer = torch.optim.AdamW(
            groups, lr=stage.lr, betas=stage.betas, weight_decay=stage.weight_decay, fused=True
        )
        self.average = [p.detach().clone() for p in self.parameters] if stage.ema_decay else None
        if path.exists():
            self._load()

    def advance(self, generator: torch.Generator, stop: bool) -> tuple[dict[str, float], bool]:
        """One step; also says whether any of the processes wants to stop."""
        stage = self.stage
        for group in self.optimizer.param_groups:
            group["lr"] = stage.lr * group["scale"] * self._schedule()
        losses = stage.loss(generator)
        if not torch.isfinite(losses["loss"]):
            raise UserError(
                f"{stage.name}: the loss is not finite at step {self.step}; {self.path} keeps the last state."
            )
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        stopping = average([p.grad for p in self.parameters if p.grad is not None], stop)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        if self.average is not None:
            # A young average must not remember the random start: ramp the decay up.
            decay = min(stage.ema_decay, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.parameters, 1.0 - decay)
        return {name: float(value.detach()) for name, value in losses.items()}, stopping

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
        state = torch.load(self.path, weights_only=True)
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
