"""Score distillation of several views at once (MVDream, section 3.3)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.backbones import Backbone, add_noise
from dreamdist3d.guidance.batch import GuidedBatch
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.guidance.directions import directions_of
from dreamdist3d.lift.cameras import Cameras
from dreamdist3d.lift.renders import Renders
from dreamdist3d.randomness import generator_for

SIDE_DEG = 45.0  # with `noise: fixed`, azimuths that round to the same multiple share their noise


class MultiviewGuidance:
    """Says how far rendered views are from what the diffusion model would make of them.

    Args:
        backbone: frozen; its `n_views` views of one object lie side by side in a batch.
        text: the prompt's hidden states, [L, D].
        negative: the negative prompt's, [L, D].
        config: scales and the annealing of timesteps.
        text_views: the prompt's under each of `DIRECTIONS`, [4, L, D], for a model that does not see cameras: every
            view is judged by its direction's. None: by `text`, wherever it is seen from.
        seed: of the noise that `guidance.noise=fixed` draws once for the whole lift.
    """

    def __init__(
        self,
        backbone: Backbone,
        text: Tensor,
        negative: Tensor,
        config: GuidanceConfig,
        text_views: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        self.backbone, self.config, self.seed = backbone, config, seed
        self.text, self.negative = text.to(backbone.device), negative.to(backbone.device)
        self.text_views = None if text_views is None else text_views.to(backbone.device)

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

    def noise(self, shape: Sequence[int], render: Renders) -> Tensor:
        """What is added to latents of this shape: fresh ones, or always the same for a view from one side.

        Fresh noise is averaged over thousands of steps, and what the prompt leaves open with it.
        """
        if self.config.noise == "fresh":
            return torch.randn(shape, generator=render.generator)
        sides = (render.cameras.azimuth_deg / SIDE_DEG).round().long() % round(360 / SIDE_DEG)
        generators = (generator_for(self.seed, "noise of a side", side) for side in sides.tolist())
        return torch.stack([torch.randn(shape[1:], generator=generator) for generator in generators])

    def text_of(self, cameras: Cameras) -> Tensor:
        """The prompt for each of B views, [B, L, D]."""
        if self.text_views is None:
            return self.text.expand(len(cameras.c2w), -1, -1)
        return self.text_views[directions_of(cameras).to(self.text_views.device)]

    def timestep_range(self, progress: float) -> tuple[int, int]:
        """The lowest and highest timestep at this share of the run (both inclusive)."""
        done = min(1.0, progress / self.config.anneal_until)
        total = len(self.backbone.alphas_cumprod)
        low, high = (
            int(total * (start + (end - start) * done))
            for start, end in (self.config.min_timestep, self.config.max_timestep)
        )
        return low, max(low, high)


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
