"""Score distillation of several views at once (MVDream, section 3.3)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.backbones import add_noise
from dreamdist3d.guidance.batch import GuidedBatch
from dreamdist3d.guidance.prompted import PromptedViews
from dreamdist3d.lift.cameras import Cameras
from dreamdist3d.lift.renders import Renders


class MultiviewGuidance(PromptedViews):
    """Says how far rendered views are from what the diffusion model would make of them."""

    def __call__(
        self,
        rgb: Tensor,  # [B, 3, H, W], [0, 1]
        cameras: Cameras,  # B
        progress: float,
        generator: torch.Generator,
        background: Tensor,  # [3], [0, 1]
    ) -> Tensor:
        """The guidance loss, a scalar; its gradient reaches `rgb` alone.

        Args:
            rgb: renders; B is a multiple of the backbone's `n_views`.
            cameras: where they were taken from.
            progress: share of the run behind us, in [0, 1]; anneals the timesteps.
            generator: draws the timestep and the noise, on the CPU.
            background: the plain colour behind the object.
        """
        return self.losses([Renders(rgb, cameras, progress, generator, background)])[0]

    def losses(self, renders: Sequence[Renders], beside: Sequence["MultiviewGuidance"] = ()) -> list[Tensor]:
        """As `Guidance.losses`: a scalar for each asset, from one pass of each network over all their views.

        Raises:
            ValueError: the guidances differ in more than their prompts, or the assets in their progress.
        """
        batch = GuidedBatch([self, *beside], renders)
        latents = batch.encode()
        with torch.no_grad():
            noise, timesteps = batch.noise(latents)
            noisy = add_noise(batch.backbone, latents, noise, timesteps)
            if self.config.kind == "sds":
                gradient = batch.sds_gradient(noise, noisy, timesteps, batch.predict(noisy, timesteps))
            else:
                target = batch.reconstructed(noisy, timesteps)
        if self.config.kind == "sds":
            return batch.along(latents, gradient)
        pairs = zip(batch.parts(latents), batch.parts(target), strict=True)
        return [0.5 * F.mse_loss(z, x0, reduction="sum") / len(z) for z, x0 in pairs]

    def after_step(self) -> None:
        """Nothing: it learns nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it never changes."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take over."""


def guide_together(guidances: Sequence[MultiviewGuidance], renders: Sequence[Renders]) -> list[Tensor]:
    """The losses of several assets, a scalar each, from one pass of each network over all their views.

    Every asset keeps its prompt and its generator, so its loss is what it would be alone, up to the rounding of
    larger batches.

    Args:
        guidances: one for each asset, of one backbone and one configuration.
        renders: as many, at one resolution and one progress.

    Raises:
        ValueError: the guidances differ in more than their prompts, or the assets in their progress.
    """
    return guidances[0].losses(renders, guidances[1:])
