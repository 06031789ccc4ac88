"""Score distillation of several views at once (MVDream, section 3.3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.backbones import Backbone, add_noise, predicted_noise, predicted_x0
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.guidance.directions import directions_of
from dreamdist3d.lift.cameras import Cameras, camera_condition
from dreamdist3d.lift.renders import Renders


class MultiviewGuidance:
    """Says how far rendered views are from what the diffusion model would make of them.

    Args:
        backbone: frozen; its `n_views` views of one object lie side by side in a batch.
        text: the prompt's hidden states, [L, D].
        negative: the negative prompt's, [L, D].
        config: scales and the annealing of timesteps.
        text_views: the prompt's under each of `DIRECTIONS`, [4, L, D], for a model that does not see cameras: every
            view is judged by its direction's. None: by `text`, wherever it is seen from.
    """

    def __init__(
        self,
        backbone: Backbone,
        text: Tensor,
        negative: Tensor,
        config: GuidanceConfig,
        text_views: Tensor | None = None,
    ) -> None:
        self.backbone, self.config = backbone, config
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
        return guide_together([self], [Renders(rgb, cameras, progress, generator, background)])[0]

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
    batch = _Batch(guidances, renders)
    latents = batch.encode()
    with torch.no_grad():
        noise, timesteps = batch.noise(latents)
        noisy = add_noise(batch.backbone, latents, noise, timesteps)
        outputs = batch.predict(noisy, timesteps)
        if batch.config.kind == "sds":
            gradient = batch.sds_gradient(noise, noisy, timesteps, outputs)
        else:
            target = batch.reconstructed(noisy, timesteps, outputs)
    if batch.config.kind == "sds":
        return [(z * g).sum() / len(z) for z, g in zip(batch.parts(latents), batch.parts(gradient), strict=True)]
    pairs = zip(batch.parts(latents), batch.parts(target), strict=True)
    return [0.5 * F.mse_loss(z, x0, reduction="sum") / len(z) for z, x0 in pairs]


class _Batch:
    """The views of several assets, one after the other."""

    def __init__(self, guidances: Sequence[MultiviewGuidance], renders: Sequence[Renders]) -> None:
        self.guidances, self.renders = guidances, renders
        self.backbone, self.config = guidances[0].backbone, guidances[0].config
        if any(one.backbone is not self.backbone or one.config != self.config for one in guidances):
            raise ValueError("assets guided together share a backbone and a configuration")
        if len({one.progress for one in renders}) > 1:
            raise ValueError("assets guided together are equally far")
        self.sizes = [len(one.rgb) for one in renders]

    def parts(self, stacked: Tensor) -> tuple[Tensor, ...]:
        """[sum of views, ...] -> each asset's own."""
        return stacked.split(self.sizes)

    def encode(self) -> Tensor:
        """Latents of all renders."""
        size = self.backbone.image_size
        rgb = torch.cat([one.rgb for one in self.renders])
        pixels = F.interpolate(rgb, (size, size), mode="bilinear", align_corners=False, antialias=True)
        return self.backbone.encode_images(pixels * 2 - 1)

    def noise(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Noise and timesteps, each asset's from its own generator; the views of an object share the timestep."""
        low, high = self.guidances[0].timestep_range(self.renders[0].progress)
        noise, timesteps = [], []
        for part, one in zip(self.parts(latents), self.renders, strict=True):
            objects = len(part) // self.backbone.n_views
            drawn = torch.randint(low, high + 1, (objects,), generator=one.generator)
            timesteps.append(drawn.repeat_interleave(self.backbone.n_views))
            noise.append(torch.randn(part.shape, generator=one.generator))
        return torch.cat(noise).to(latents), torch.cat(timesteps).to(latents.device)

    def predict(self, noisy: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """The UNet's outputs for the prompts and for the negative prompts."""
        text = torch.cat([g.text_of(one.cameras) for g, one in zip(self.guidances, self.renders, strict=True)])
        negative = torch.cat([g.negative.expand(n, -1, -1) for g, n in zip(self.guidances, self.sizes, strict=True)])
        condition = camera_condition(torch.cat([one.cameras.c2w for one in self.renders])).to(noisy)
        return self.backbone.predict_pair(noisy, timesteps, text, negative, condition, self.backbone.n_views)

    def reconstructed(self, noisy: Tensor, timesteps: Tensor, outputs: tuple[Tensor, Tensor]) -> Tensor:
        """The x0 that the latents are pulled to."""
        x0_text, x0_without = (predicted_x0(self.backbone, noisy, output, timesteps) for output in outputs)
        x0 = x0_without + self.config.guidance_scale * (x0_text - x0_without)
        x0 = rescale_std(x0, x0_text, self.config.recon_std_rescale, self.backbone.n_views)
        return self._shown(x0) if self.config.clamp_x0 else x0

    def _shown(self, latents: Tensor) -> Tensor:
        """The nearest latents that renders over their backgrounds can have."""
        pixels = self.backbone.decode_latents(latents).clamp(-1, 1)
        if self.config.background_tolerance > 0:
            colors = [one.background.expand(n, 3) for one, n in zip(self.renders, self.sizes, strict=True)]
            pixels = plain_background(pixels, torch.cat(colors) * 2 - 1, 2 * self.config.background_tolerance)
        return self.backbone.encode_images(pixels)

    def sds_gradient(self, noise: Tensor, noisy: Tensor, timesteps: Tensor, outputs: tuple[Tensor, Tensor]) -> Tensor:
        """w(t) (eps_hat - eps), w = 1 - abar (DreamFusion, equation 3); over the number of views it is the gradient."""
        with_text, without = (predicted_noise(self.backbone, noisy, output, timesteps) for output in outputs)
        guided = without + self.config.guidance_scale * (with_text - without)
        return (1 - self.backbone.alphas_cumprod[timesteps].view(-1, 1, 1, 1)) * (guided - noise)


def rescale_std(guided: Tensor, text: Tensor, share: float, n_views: int) -> Tensor:
    """Bring the guided x0's spread back towards the unguided one's, per object, mixed by `share` (MVDream, A.2)."""

    def std(x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, n_views)).flatten(1).std(dim=1)

    factor = (std(text) / std(guided).clamp(min=1e-8)).repeat_interleave(n_views).view(-1, 1, 1, 1)
    return guided * (share * factor + (1 - share))


def plain_background(pixels: Tensor, color: Tensor, tolerance: float) -> Tensor:
    """Give the pixels [B, 3, H, W] that resemble their picture's border the colour, [3] or [B, 3].

    The border's colour is its median; a pixel is background up to half the tolerance away from it (largest
    channel difference), object from one and a half on, and mixed between.
    """
    edges = [pixels[..., 0, :], pixels[..., -1, :], pixels[..., :, 0], pixels[..., :, -1]]
    border = torch.cat(edges, dim=-1).median(dim=-1).values[..., None, None]  # [B, 3, 1, 1]
    distance = (pixels - border).abs().amax(dim=1, keepdim=True)
    is_object = (distance / tolerance - 0.5).clamp(0, 1)
    return is_object * pixels + (1 - is_object) * color.to(pixels).view(-1, 3, 1, 1)
