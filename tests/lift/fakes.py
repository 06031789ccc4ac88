"""Fields whose pictures are known in closed form, and a lift of a second."""

from collections.abc import Callable

import torch
from torch import Tensor

from dreamdist3d.lift.config import (
    BackgroundConfig,
    DataConfig,
    GeometryConfig,
    LiftConfig,
    OptimizerConfig,
    RendererConfig,
)
from dreamdist3d.lift.field import Field

SMALL = GeometryConfig(radius=0.5, levels=(4, 8), level_start=(0.0, 0.5), n_features=4, hidden=8, blob_std=0.25)


class AnalyticField:
    """What rendering needs of a field: a radius and a call."""

    def __init__(self, call: Callable[[Tensor], tuple[Tensor, Tensor]], radius: float = 1.0) -> None:
        self.call, self.radius, self.queried = call, radius, 0

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        self.queried += len(points)
        return self.call(points)

    def density(self, points: Tensor) -> Tensor:
        return self(points)[0]


def ball(radius: float, density: float, color: Tensor) -> AnalyticField:
    """A homogeneous ball around the origin."""
    return AnalyticField(lambda p: (density * (p.norm(dim=-1) < radius).float(), color.expand(len(p), 3)))


class TwoFaced(Field):
    """A real field with a set answer: a solid ball, red on its front half (+x), blue on its back."""

    def __init__(self) -> None:
        super().__init__(SMALL, torch.Generator().manual_seed(0))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        red, blue = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9])
        inside = points.norm(dim=-1) < 0.35
        return 200.0 * inside.float(), torch.where(points[:, :1] > 0, red, blue)


def small_config(**changes: object) -> LiftConfig:
    """A lift of twelve steps, with two stages of resolution and two levels of detail."""
    settings = {
        "max_steps": 12,
        "checkpoint_every": 5,
        "log_every": 1,
        "data": DataConfig(
            resolution=(6, 8),
            batch_views=(4, 4),
            until=(0.5, 1.0),
            fovy_range_deg=(40.0, 40.0),
            camera_distance_range=(0.6, 0.6),
        ),
        "geometry": SMALL,
        "renderer": RendererConfig(num_samples_per_ray=(8, 12), occupancy_resolution=8, occupancy_every=4),
        "background": BackgroundConfig(random_share=0.5),
        "optimizer": OptimizerConfig(lr=0.05, mlp_lr=0.005),
    }
    return LiftConfig(**settings | changes)
