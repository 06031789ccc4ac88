"""The optimisation of one field under a guidance: seeded step by step, logged, resumable."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import write_atomic
from dreamdist3d.lift.cameras import CameraRanges, Cameras, sample_cameras
from dreamdist3d.lift.config import DataConfig, LiftConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.losses import regularisers
from dreamdist3d.lift.occupancy import OccupancyGrid
from dreamdist3d.lift.render import Rendering, render
from dreamdist3d.progress import bar
from dreamdist3d.stopping import StopSignal

Guidance = Callable[[Tensor, Cameras, float, torch.Generator, Tensor], Tensor]
CHECKPOINT_NAME = "last.ckpt"


def lift(
    config: LiftConfig,
    guidance: Guidance,
    folder: Path,
    seed: int,
    device: str = "cpu",
    resume: Path | None = None,
) -> Field:
    """Optimise a field until renders of it please `guidance`.

    Args:
        config: cameras, field, renderer, losses, optimiser.
        guidance: maps renders [B, 3, H, W] in [0, 1], their cameras, the progress in [0, 1], a CPU generator
            and the background colour [3] to a scalar loss.
        folder: of the trial; gets `ckpts/last.ckpt` and tensorboard scalars in `tb_logs/`.
        seed: step n draws all its randomness from (seed, n): a resumed run equals an uninterrupted one.
        device: where the field lives.
        resume: a checkpoint to go on from.

    Raises:
        Stopped: on Ctrl-C or SIGTERM, after a checkpoint.
        UserError: the loss is not finite (the last checkpoint is kept), or the checkpoint does not fit.
    """
    from torch.utils.tensorboard import SummaryWriter

    state = _State(config, seed, device)
    checkpoint = folder / "ckpts" / CHECKPOINT_NAME
    if resume is not None:
        state.load(resume)
    with (
        SummaryWriter(str(folder / "tb_logs"), purge_step=state.step) as scalars,
        StopSignal() as stop,
        bar("lift", config.max_steps, state.step) as progress,
    ):
        while state.step < config.max_steps:
            values = state.advance(guidance, checkpoint)
            progress.advance(f"loss {values['loss']:.3f}")
            if state.step % config.log_every == 0:
                for name, value in values.items():
                    scalars.add_scalar(f"train/{name}", value, state.step)
            last = state.step == config.max_steps
            if stop.requested or last or state.step % config.checkpoint_every == 0:
                state.save(checkpoint)
            if stop.requested and not last:
                raise Stopped(f"stopped at step {state.step} of {config.max_steps}; resume={checkpoint} goes on.")
    return state.field


def load_field(checkpoint: Path, config: LiftConfig, device: str = "cpu") -> Field:
    """The field of a checkpoint that `lift` wrote.

    Raises:
        UserError: missing, damaged, or of another geometry.
    """
    state = _State(config, 0, device)
    state.load(checkpoint)
    return state.field


class _State:
    """A field with its optimiser and occupancy grid: what a checkpoint holds."""

    def __init__(self, config: LiftConfig, seed: int, device: str) -> None:
        self.config, self.seed, self.step = config, seed, 0
        self.field = Field(config.geometry, torch.Generator().manual_seed(seed)).to(device)
        self.occupancy = OccupancyGrid(config.renderer, config.geometry.radius).to(device)
        mlp = [*self.field.inner.parameters(), *self.field.outer.parameters()]
        self.optimizer = torch.optim.Adam(
            [
                {"params": list(self.field.grids), "base_lr": config.optimizer.lr},
                {"params": mlp, "base_lr": config.optimizer.mlp_lr},
            ],
            betas=(0.9, 0.99),
            eps=1e-15,
        )

    @property
    def progress(self) -> float:
        return self.step / self.config.max_steps

    def advance(self, guidance: Guidance, checkpoint: Path) -> dict[str, float]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        self.field.set_progress(self.progress)
        self._set_rates()
        with self.field.cached() as field:
            if self.step % self.config.renderer.occupancy_every == 0:
                self.occupancy.update(field, generator)
            background = self._background(generator).to(self.field.outer.weight.device)
            rendering, cameras = self._render(field, background, generator)
            losses = {"guidance": guidance(rendering.rgb, cameras, self.progress, generator, background)}
            losses |= regularisers(self.config.loss, field, rendering)
        total = sum(getattr(self.config.loss, name) * value for name, value in losses.items())
        if not torch.isfinite(total):
            kept = f"{checkpoint} keeps the last good state" if checkpoint.exists() else "no checkpoint was due yet"
            raise UserError(f"the loss is not finite at step {self.step}; {kept}. Try a lower system.optimizer.lr.")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self.step += 1
        return {"loss": float(total.detach())} | {name: float(value.detach()) for name, value in losses.items()}

    def _render(self, field: Field, background: Tensor, generator: torch.Generator) -> tuple[Rendering, Cameras]:
        data, stage = self.config.data, resolution_stage(self.config.data, self.progress)
        cameras = sample_cameras(camera_ranges(data), data.batch_views[stage] // data.n_view, generator)
        cameras = cameras.to(background.device)
        rendering = render(
            field,
            cameras,
            data.resolution[stage],
            self.config.renderer.num_samples_per_ray[stage],
            background,
            self.occupancy,
            generator,
        )
        return rendering, cameras

    def _background(self, generator: torch.Generator) -> Tensor:
        background = self.config.background
        if torch.rand((), generator=generator) < background.random_share:
            return torch.rand(3, generator=generator)
        return torch.tensor(background.color)

    def _set_rates(self) -> None:
        optimizer = self.config.optimizer
        late = max(0.0, self.progress - optimizer.decay_from) / max(1e-9, 1.0 - optimizer.decay_from)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * (1.0 - late * (1.0 - optimizer.final_scale))

    def save(self, path: Path) -> None:
        state = {
            "step": self.step,
            "seed": self.seed,
            "field": self.field.state_dict(),
            "occupancy": self.occupancy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_atomic(path, lambda temporary: torch.save(state, temporary))

    def load(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location=self.field.outer.weight.device, weights_only=True)
            self.field.load_state_dict(state["field"])
            self.occupancy.load_state_dict(state["occupancy"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seed = state["step"], state["seed"]
        except FileNotFoundError:
            raise UserError(f"checkpoint {path} does not exist; check resume=.") from None
        except Exception as error:  # torch.load raises many kinds on damaged files
            line = " ".join(str(error).split())[:200]
            raise UserError(f"checkpoint {path} does not fit this configuration or is damaged: {line}") from error


def resolution_stage(data: DataConfig, progress: float) -> int:
    """The index into `resolution` and its companions at this share of the run."""
    return next((i for i, end in enumerate(data.until) if progress < end), len(data.until) - 1)


def camera_ranges(data: DataConfig) -> CameraRanges:
    """The cameras of a lift as `sample_cameras` takes them."""
    return CameraRanges(data.elevation_range_deg, data.fovy_range_deg, data.camera_distance_range, data.n_view)
