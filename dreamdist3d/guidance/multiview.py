"""Score distillation of several views at once (MVDream, section 3.3)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.backbones import Backbone, add_noise, predicted_noise, predicted_x0
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.cameras import Cameras, camera_condition


class MultiviewGuidance:
    """Says how far rendered views are from what the diffusion model would make of them.

    Args:
        backbone: frozen; its `n_views` views of one object lie side by side in a batch.
        text: the prompt's hidden states, [L, D].
        negative: the negative prompt's, [L, D].
        config: scales and the annealing of timesteps.
    """

    def __init__(self, backbone: Backbone, text: Tensor, negative: Tensor, config: GuidanceConfig) -> None:
        self.backbone, self.config = backbone, config
        self.text = torch.stack([text, negative]).to(backbone.device)  # [2, L, D]

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
        size = self.backbone.image_size
        pixels = F.interpolate(rgb, (size, size), mode="bilinear", align_corners=False, antialias=True)
        latents = self.backbone.encode_images(pixels * 2 - 1)
        if self.config.kind == "sds":
            return self._sds(latents, cameras, progress, generator)
        with torch.no_grad():
            target = self._target(latents, cameras, progress, generator, background)
        return 0.5 * F.mse_loss(latents, target, reduction="sum") / len(latents)

    def timestep_range(self, progress: float) -> tuple[int, int]:
        """The lowest and highest timestep at this share of the run (both inclusive)."""
        done = min(1.0, progress / self.config.anneal_until)
        total = len(self.backbone.alphas_cumprod)
        low, high = (
            int(total * (start + (end - start) * done))
            for start, end in (self.config.min_timestep, self.config.max_timestep)
        )
        return low, max(low, high)

    def _noised(self, latents: Tensor, progress: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noise, noisy latents and timesteps; the views of an object share the timestep."""
        low, high = self.timestep_range(progress)
        objects = len(latents) // self.backbone.n_views
        timesteps = torch.randint(low, high + 1, (objects,), generator=generator)
        timesteps = timesteps.repeat_interleave(self.backbone.n_views).to(latents.device)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        return noise, add_noise(self.backbone, latents, noise, timesteps), timesteps

    def _predict(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """The UNet's outputs for the prompt and for the negative prompt."""
        text, negative = (prompt.expand(len(noisy), -1, -1) for prompt in self.text)
        condition = camera_condition(cameras.c2w).to(noisy)
        return self.backbone.predict_pair(noisy, timesteps, text, negative, condition, self.backbone.n_views)

    def _target(
        self, latents: Tensor, cameras: Cameras, progress: float, generator: torch.Generator, background: Tensor
    ) -> Tensor:
        """The reconstructed x0 that the latents are pulled to."""
        _, noisy, timesteps = self._noised(latents, progress, generator)
        outputs = self._predict(noisy, timesteps, cameras)
        x0_text, x0_without = (predicted_x0(self.backbone, noisy, output, timesteps) for output in outputs)
        x0 = x0_without + self.config.guidance_scale * (x0_text - x0_without)
        x0 = rescale_std(x0, x0_text, self.config.recon_std_rescale, self.backbone.n_views)
        return self._shown(x0, background) if self.config.clamp_x0 else x0

    def _shown(self, latents: Tensor, background: Tensor) -> Tensor:
        """The nearest latents that a render over `background` can have."""
        pixels = self.backbone.decode_latents(latents).clamp(-1, 1)
        if self.config.background_tolerance > 0:
            pixels = plain_background(pixels, background * 2 - 1, 2 * self.config.background_tolerance)
        return self.backbone.encode_images(pixels)

    def _sds(self, latents: Tensor, cameras: Cameras, progress: float, generator: torch.Generator) -> Tensor:
        """A scalar whose gradient is w(t) (eps_hat - eps) / B, w = 1 - abar (DreamFusion, equation 3)."""
        with torch.no_grad():
            noise, noisy, timesteps = self._noised(latents, progress, generator)
            outputs = self._predict(noisy, timesteps, cameras)
            with_text, without = (predicted_noise(self.backbone, noisy, output, timesteps) for output in outputs)
            guided = without + self.config.guidance_scale * (with_text - without)
            weight = 1 - self.backbone.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
            gradient = weight * (guided - noise)
        return (latents * gradient).sum() / len(latents)


def rescale_std(guided: Tensor, text: Tensor, share: float, n_views: int) -> Tensor:
    """Bring the guided x0's spread back towards the unguided one's, per object, mixed by `share` (MVDream, A.2)."""

    def std(x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, n_views)).flatten(1).std(dim=1)

    factor = (std(text) / std(guided).clamp(min=1e-8)).repeat_interleave(n_views).view(-1, 1, 1, 1)
    return guided * (share * factor + (1 - share))


def plain_background(pixels: Tensor, color: Tensor, tolerance: float) -> Tensor:
    """Give the pixels [B, 3, H, W] that resemble their picture's border the colour [3].

    The border's colour is its median; a pixel is background up to half the tolerance away from it (largest
    channel difference), object from one and a half on, and mixed between.
    """
    edges = [pixels[..., 0, :], pixels[..., -1, :], pixels[..., :, 0], pixels[..., :, -1]]
    border = torch.cat(edges, dim=-1).median(dim=-1).values[..., None, None]  # [B, 3, 1, 1]
    distance = (pixels - border).abs().amax(dim=1, keepdim=True)
    is_object = (distance / tolerance - 0.5).clamp(0, 1)
    return is_object * pixels + (1 - is_object) * color.to(pixels).view(1, 3, 1, 1)
