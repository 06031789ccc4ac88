"""What lets threestudio's own launch.py run on a CPU: device, trainer, encoding, small pictures, renderer, guidance.

Loaded by launch.py as an extension, after it has imported the trainer and before it makes one. All else is
threestudio's own.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import threestudio
import threestudio.data.uncond as uncond
import threestudio.models.background.neural_environment_map_background as environment
import threestudio.models.geometry.implicit_volume as volume
import threestudio.systems.base
import threestudio.utils.base
import threestudio.utils.misc
import torch
from threestudio.models.networks import ProgressiveBandFrequency
from threestudio.models.renderers.base import VolumeRenderer
from threestudio.utils.base import BaseObject

_STEPS = 12
_PROCESSES = int(os.environ.get("STANDIN_PROCESSES", "1"))


def _on_cpu() -> None:
    for module in (threestudio.utils.base, threestudio.utils.misc, threestudio.systems.base):
        module.get_device = lambda: torch.device("cpu")
    for module in (environment, volume):
        module.get_encoding = lambda dimensions, _: ProgressiveBandFrequency(dimensions, {"n_frequencies": 4})
    view = uncond.RandomCameraDataset.__init__

    def view_small(dataset: uncond.RandomCameraDataset, cfg: Any, split: str) -> None:
        cfg.eval_height = cfg.eval_width = 8
        cfg.n_val_views, cfg.n_test_views = 1, 2
        view(dataset, cfg, split)

    uncond.RandomCameraDataset.__init__ = view_small
    make = pl.Trainer.__init__

    def make_on_cpu(trainer: pl.Trainer, **options: Any) -> None:
        options |= {"accelerator": "cpu", "devices": _PROCESSES, "precision": "32-true"}
        if _PROCESSES > 1:
            options["strategy"] = "ddp_find_unused_parameters_true"
        make(trainer, **options)

    pl.Trainer.__init__ = make_on_cpu


class StandinRenderer(VolumeRenderer):
    """Plain quadrature along each ray through the cube, every sample evaluated."""

    @dataclass
    class Config(VolumeRenderer.Config):
        """Its number of samples is not the configured one."""

        num_samples_per_ray: int = 0

    def forward(self, rays_o: torch.Tensor, rays_d: torch.Tensor, **_: Any) -> dict[str, torch.Tensor]:
        nearest = -(rays_o * rays_d).sum(-1, keepdim=True)  # [B, H, W, 1], to the origin
        span = torch.linspace(-1, 1, _STEPS) * self.cfg.radius
        points = rays_o[..., None, :] + (nearest + span)[..., None] * rays_d[..., None, :]
        inside = (points.abs() <= self.cfg.radius).all(-1)
        out = self.geometry(points.clamp(-self.cfg.radius, self.cfg.radius))
        alpha = 1 - torch.exp(-out["density"][..., 0] * inside * (span[1] - span[0]))
        light = torch.cumprod(torch.cat([torch.ones_like(alpha[..., :1]), 1 - alpha[..., :-1]], -1), -1)
        weights = (alpha * light)[..., None]
        opacity = weights.sum(-2)
        color = (weights * self.material(features=out["features"])).sum(-2)
        background = self.background(dirs=rays_d)
        return {"comp_rgb": color + background * (1 - opacity), "opacity": opacity, "weights": weights}


@threestudio.register("standin-guidance")
class StandinGuidance(BaseObject):
    """Pulls pictures to grey; leaves in $STANDIN_SEEN what the prompt processor gave it, one file a process."""

    @dataclass
    class Config(BaseObject.Config):
        """Nothing to set."""

    def __call__(
        self,
        rgb: torch.Tensor,
        prompt_utils: Any,
        elevation: torch.Tensor,
        azimuth: torch.Tensor,
        camera_distances: torch.Tensor,
        **_: Any,
    ) -> dict[str, torch.Tensor]:
        """As other guidances."""
        cameras = (elevation, azimuth, camera_distances)
        names = ("text_embeddings", "uncond_text_embeddings", "text_embeddings_vd", "uncond_text_embeddings_vd")
        seen = {name: getattr(prompt_utils, name) for name in names}
        seen["pairs"] = prompt_utils.get_text_embeddings(*cameras)
        seen["perp_neg"], seen["weights"] = prompt_utils.get_text_embeddings_perp_neg(*cameras)
        folder = Path(os.environ["STANDIN_SEEN"])
        folder.mkdir(exist_ok=True)
        torch.save(seen, folder / f"rank{threestudio.utils.misc.get_rank()}.pt")
        return {"loss_sds": ((rgb - 0.5) ** 2).mean()}


_on_cpu()
threestudio.__modules__["nerf-volume-renderer"] = StandinRenderer
