"""One asset in the making: field, optimiser and occupancy grid, and a step of them in two halves."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.lift.cameras import CameraRanges, Cameras, sample_cameras
from dreamdist3d.lift.checkpoints import read_checkpoint, write_checkpoint
from dreamdist3d.lift.config import DataConfig, LiftConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.losses import regularisers
from dreamdist3d.lift.occupancy import OccupancyGrid
from dreamdist3d.lift.render import Rendering, render
from dreamdist3d.lift.renders import Renders


class LiftState:
    """What a checkpoint holds. Step n draws all its randomness from (seed, n)."""

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
        """Share of the lift behind us."""
        return self.step / self.config.max_steps

    @contextmanager
    def rendered(self) -> Iterator["Step"]:
        """The first half of a step: the field rendered, its graph alive, its grids summed once for all queries."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.step) % 2**63)
        self.field.set_progress(self.progress)
        self._set_rates()
        with self.field.cached() as field:
            if self.step % self.config.renderer.occupancy_every == 0:
                self.occupancy.update(field, generator)
            background = self._background(generator).to(self.field.outer.weight.device)
            rendering, cameras = self._render(field, background, generator)
            yield Step(self, rendering, Renders(rendering.rgb, cameras, self.progress, generator, background))

    def descend(self) -> None:
        """The last part of a step, when the gradients are there."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

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
        """Write a checkpoint; the one that stood there stays beside it.

        Raises:
            UserError: it cannot be written.
        """
        state = {
            "step": self.step,
            "seed": self.seed,
            "field": self.field.state_dict(),
            "occupancy": self.occupancy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(state, path)

    def load(self, path: Path) -> None:
        """Take over a checkpoint, its seed too.

        Raises:
            UserError: missing, damaged, or of another configuration.
        """
        state = read_checkpoint(path, self.field.outer.weight.device)
        try:
            self.field.load_state_dict(state["field"])
            self.occupancy.load_state_dict(state["occupancy"])
            self.optimizer.load_state_dict(state["optimizer"])
        except Exception as error:  # torch has many words for shapes that differ
            line = " ".join(str(error).split())[:200]
            raise UserError(f"checkpoint {path} does not fit this configuration: {line}") from error
        self.step, self.seed = state["step"], state["seed"]


@dataclass(frozen=True)
class Step:
    """A rendered step that waits for its guidance."""

    state: LiftState
    rendering: Rendering
    renders: Renders

    def losses(self, guidance: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum to be minimised, and every term unweighted."""
        config = self.state.config.loss
        terms = {"guidance": guidance} | regularisers(config, self.state.field, self.rendering)
        total = sum(getattr(config, name) * value for name, value in terms.items())
        return total, {"loss": float(total.detach())} | {name: float(value.detach()) for name, value in terms.items()}


def resolution_stage(data: DataConfig, progress: float) -> int:
    """The index into `resolution` and its companions at this share of the run."""
    return next((i for i, end in enumerate(data.until) if progress < end), len(data.until) - 1)


def camera_ranges(data: DataConfig) -> CameraRanges:
    """The cameras of a lift as `sample_cameras` takes them."""
    return CameraRanges(data.elevation_range_deg, data.fovy_range_deg, data.camera_distance_range, data.n_view)
