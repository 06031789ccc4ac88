"""One asset in the making: field, optimiser and occupancy grid, and a step of them in two halves."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.lift.cameras import CameraRanges, Cameras, sample_cameras
from dreamdist3d.lift.checkpoints import all_finite, read_checkpoint, write_checkpoint
from dreamdist3d.lift.config import DataConfig, LiftConfig, LossConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.losses import regularisers
from dreamdist3d.lift.occupancy import OccupancyGrid
from dreamdist3d.lift.render import Rendering, render
from dreamdist3d.lift.renders import Renders
from dreamdist3d.randomness import generator_for


class Stateful(Protocol):
    """Something that a checkpoint keeps beside the field."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers; empty when there is nothing to keep."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, or an empty one of a checkpoint without it."""


class LiftState:
    """What a checkpoint holds. Step n draws all its randomness from (seed, n).

    Args:
        config: of the lift.
        seed: of the field's first weights and of every step.
        device: where the field lives.
        identity: what the asset is lifted from, by name; a checkpoint of anything else is refused.
        beside: what else checkpoints keep, by name, such as the guidance's own weights.
    """

    def __init__(
        self,
        config: LiftConfig,
        seed: int,
        device: str,
        identity: Mapping[str, str] | None = None,
        beside: Mapping[str, Stateful] | None = None,
    ) -> None:
        self.config, self.seed, self.step, self.identity = config, seed, 0, dict(identity or {})
        self.beside = dict(beside or {})
        self.field = Field(config.geometry, generator_for(seed, "field")).to(device)
        self.occupancy = OccupancyGrid(config.renderer, config.geometry.radius).to(device)
        mlp = [*self.field.inner.parameters(), *self.field.outer.parameters()]
        self.optimizer = torch.optim.Adam(
            [{"params": list(self.field.grids)}, {"params": mlp}],
            betas=(0.9, 0.99),
            eps=1e-15,
        )

    @property
    def progress(self) -> float:
        """Share of the lift behind us."""
        return self.step / self.config.max_steps

    @contextmanager
    def rendered(self, since: float = 0.0) -> Iterator["Step"]:
        """The first half of a step: the field rendered, its graph alive, its grids summed once for all queries.

        Args:
            since: share of the lift at which the guidance began, below 1: it is told its own progress.
        """
        generator = generator_for(self.seed, "lift", self.step)
        told = max(0.0, self.progress - since) / (1.0 - since)
        with self.begun(generator) as field:
            background = self._background(generator).to(self.field.outer.weight.device)
            rendering, cameras = self._render(field, background, generator)
            yield Step(self, rendering, Renders(rendering.rgb, cameras, told, generator, background))

    @contextmanager
    def begun(self, generator: torch.Generator) -> Iterator[Field]:
        """The field of this step: its levels and rates set, its occupancy renewed when due, its grids summed once."""
        self.field.set_progress(self.progress)
        self._set_rates()
        with self.field.cached() as field:
            if self.step % self.config.renderer.occupancy_every == 0:
                self.occupancy.update(field, generator)
            yield field

    def descend(self) -> None:
        """The last part of a step, when the gradients are there.

        Raises:
            FloatingPointError: one is not finite, which the loss need not show; the weights stay as they were.
        """
        if not all_finite(weight.grad for weight in self.field.parameters() if weight.grad is not None):
            raise FloatingPointError("the gradient")
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
        # From the configuration, not from what a checkpoint brought along: a run may go on at another rate.
        for group, rate in zip(self.optimizer.param_groups, (optimizer.lr, optimizer.mlp_lr), strict=True):
            group["lr"] = rate * (1.0 - late * (1.0 - optimizer.final_scale))

    def save(self, path: Path) -> None:
        """Write a checkpoint; the one that stood there stays beside it.

        Raises:
            FloatingPointError: a number of it is not finite; nothing is written.
            UserError: it cannot be written.
        """
        if not all_finite(self._numbers()):
            raise FloatingPointError("the field")
        beside = {name: kept for name, part in self.beside.items() if (kept := part.state_dict())}
        state = beside | {
            "step": self.step,
            "seed": self.seed,
            "identity": self.identity,
            "field": self.field.state_dict(),
            "occupancy": self.occupancy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(state, path)

    def load(self, path: Path) -> None:
        """Take over a checkpoint, its seed too.

        Raises:
            UserError: missing, damaged, of another configuration or of another asset.
        """
        state = read_checkpoint(path, self.field.outer.weight.device)
        was = state.get("identity", {})  # those of earlier versions do not tell
        if differing := [name for name, value in self.identity.items() if was.get(name, value) != value]:
            raise UserError(
                f"checkpoint {path} is of another asset: another {' and another '.join(differing)}. Put this one's own "
                "back, or delete it to begin again."
            )
        try:
            self.field.load_state_dict(state["field"])
            self.occupancy.load_state_dict(state["occupancy"])
            self.optimizer.load_state_dict(state["optimizer"])
            for name, part in self.beside.items():
                part.load_state_dict(state.get(name, {}))
        except UserError as error:
            raise UserError(f"checkpoint {path} does not fit this configuration: {error}") from error
        except Exception as error:  # torch has many words for shapes that differ
            line = " ".join(str(error).split())[:200]
            raise UserError(f"checkpoint {path} does not fit this configuration: {line}") from error
        self.step, self.seed = state["step"], state["seed"]

    def _numbers(self) -> Iterable[Tensor]:
        yield from self.field.state_dict().values()
        yield from self.occupancy.state_dict().values()
        for moments in self.optimizer.state.values():
            yield from moments.values()


@dataclass(frozen=True)
class Step:
    """A rendered step that waits for its guidance."""

    state: LiftState
    rendering: Rendering
    renders: Renders

    def losses(self, guidance: Tensor, weights: LossConfig | None = None) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum to be minimised, and every term unweighted; weights are the lift's if none are given."""
        weights = weights or self.state.config.loss
        terms = {"guidance": guidance} | regularisers(weights, self.state.field, self.rendering)
        total = sum(getattr(weights, name) * value for name, value in terms.items())
        return total, {"loss": float(total.detach())} | {name: float(value.detach()) for name, value in terms.items()}


def resolution_stage(data: DataConfig, progress: float) -> int:
    """The index into `resolution` and its companions at this share of the run."""
    return next((i for i, end in enumerate(data.until) if progress < end), len(data.until) - 1)


def camera_ranges(data: DataConfig) -> CameraRanges:
    """The cameras of a lift as `sample_cameras` takes them."""
    return CameraRanges(data.elevation_range_deg, data.fovy_range_deg, data.camera_distance_range, data.n_view)
