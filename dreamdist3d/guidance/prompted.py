"""What a model is asked about one asset's views: the prompt of each, noise levels, noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.guidance.directions import directions_of
from dreamdist3d.lift.cameras import Cameras
from dreamdist3d.lift.renders import Renders
from dreamdist3d.randomness import generator_for

SIDE_DEG = 45.0  # with `noise: fixed`, azimuths that round to the same multiple share their noise


class PromptedViews:
    """A frozen model, the prompts under which it looks at views of one asset, and how these are noised.

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
