"""`dreamdist3d-multiview-guidance`: multi-view score distillation with stock diffusers, no `mvdream` package."""

from dataclasses import dataclass
from typing import Any

import threestudio
import torch
from threestudio.utils.base import BaseObject
from threestudio.utils.misc import C
from torch import Tensor

from dreamdist3d.backbones import load_backbone, release_text_encoder, resolve_precision, set_precision
from dreamdist3d.errors import UserError
from dreamdist3d.guidance import MultiviewGuidance
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.cameras import Cameras

from .errors import one_line_errors


@threestudio.register("dreamdist3d-multiview-guidance")
class DistillationGuidance(BaseObject):
    """Called as threestudio-mvdream's guidance is, with its keys; batches hold an object's views side by side."""

    @dataclass
    class Config(BaseObject.Config):
        """`min_step_percent` and `max_step_percent` are numbers or threestudio's [from step, from, to, to step]."""

        pretrained_model_name_or_path: str = "mvdream"  # also mini, a local folder, an original checkpoint file
        guidance_scale: float = 50.0
        recon_loss: bool = True  # false: plain SDS
        recon_std_rescale: float = 0.5
        min_step_percent: Any = 0.02
        max_step_percent: Any = 0.98
        n_view: int = 4
        precision: str = "auto"  # of the UNet: auto, fp32, fp16, bf16
        low_vram: bool = False
        clamp_x0: bool = False
        view_dependent_prompting: bool = False

    def configure(self) -> None:
        """Load the backbone, frozen."""
        with one_line_errors():
            backbone = load_backbone(self.cfg.pretrained_model_name_or_path, str(self.device))
            if self.cfg.n_view % backbone.n_views:
                raise UserError(
                    f"system.guidance.n_view is {self.cfg.n_view}, the model sees {backbone.n_views} views."
                )
        self._backbone = set_precision(backbone, resolve_precision(self.cfg.precision, self.device))
        backbone.low_vram = self.cfg.low_vram
        release_text_encoder(backbone)
        self.update_step(0, 0)

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Anneal the timesteps."""
        low, high = (C(value, epoch, global_step) for value in (self.cfg.min_step_percent, self.cfg.max_step_percent))
        self._config = GuidanceConfig(
            kind="x0" if self.cfg.recon_loss else "sds",
            guidance_scale=self.cfg.guidance_scale,
            recon_std_rescale=self.cfg.recon_std_rescale,
            max_timestep=(high, high),
            min_timestep=(low, low),
            clamp_x0=self.cfg.clamp_x0,
        )

    def __call__(
        self,
        rgb: Tensor,  # [B, H, W, 3], [0, 1]
        prompt_utils: Any,
        elevation: Tensor,  # [B], degrees
        azimuth: Tensor,  # [B], degrees
        camera_distances: Tensor,  # [B]
        c2w: Tensor,  # [B, 4, 4]
        fovy: Tensor,  # [B], radians
        rgb_as_latents: bool = False,
        **_: Any,
    ) -> dict[str, Any]:
        """The loss by the name that threestudio's systems weight, and the range of timesteps for the log."""
        if rgb_as_latents:
            raise ValueError("renders are pictures here, not latents: rgb_as_latents is not supported")
        embeddings = prompt_utils.get_text_embeddings(
            elevation, azimuth, camera_distances, self.cfg.view_dependent_prompting
        )
        text, negative = embeddings.chunk(2)  # [B, L, D] each: the condition stands first in threestudio
        guidance = MultiviewGuidance(self._backbone, text, negative, self._config)
        cameras = Cameras(c2w, torch.rad2deg(fovy), azimuth, elevation, camera_distances)
        # The parts compute in the precisions set for them: in the trainer's autocast the autoencoder would overflow.
        with torch.autocast(rgb.device.type, enabled=False):
            pictures = rgb.float().permute(0, 3, 1, 2)
            # threestudio seeds the global generator, with another seed on each rank.
            loss = guidance(pictures, cameras, 0.0, torch.default_generator, pictures.new_zeros(3))
        low, high = guidance.timestep_range(0.0)
        return {"loss_sds": loss, "min_step": low, "max_step": high}
