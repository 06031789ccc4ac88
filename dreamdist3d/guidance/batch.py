"""The views of several assets on their way through the networks: encoded, noised, predicted."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.backbones import add_noise, predicted_noise, predicted_x0
from dreamdist3d.backbones.backbone import noise_levels
from dreamdist3d.guidance.prompted import PromptedViews
from dreamdist3d.lift.cameras import camera_condition
from dreamdist3d.lift.renders import Renders


class GuidedBatch:
    """The views of several assets, one after the other."""

    def __init__(self, guidances: Sequence[PromptedViews], renders: Sequence[Renders]) -> None:
        self.guidances, self.renders = guidances, renders
        self.backbone, self.config = guidances[0].backbone, guidances[0].config
        if any(one.backbone is not self.backbone or one.config != self.config for one in guidances):
            raise ValueError("assets guided together share a backbone and a configuration")
        if len({one.progress for one in renders}) > 1:
            raise ValueError("assets guided together are equally far")
        self.sizes = [len(one.rgb) for one in renders]

    def along(self, latents: Tensor, gradient: Tensor) -> list[Tensor]:
        """Losses whose gradient by each asset's latents is this one, over its number of views."""
        pairs = zip(self.parts(latents), self.parts(gradient), strict=True)
        return [(z * g).sum() / len(z) for z, g in pairs]

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
        for part, guidance, one in zip(self.parts(latents), self.guidances, self.renders, strict=True):
            objects = len(part) // self.backbone.n_views
            drawn = torch.randint(low, high + 1, (objects,), generator=one.generator)
            timesteps.append(drawn.repeat_interleave(self.backbone.n_views))
            noise.append(guidance.noise(part.shape, one))
        return torch.cat(noise).to(latents), torch.cat(timesteps).to(latents.device)

    def predict(self, noisy: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """The UNet's outputs for the prompts and for the negative prompts."""
        text = torch.cat([g.text_of(one.cameras) for g, one in zip(self.guidances, self.renders, strict=True)])
        negative = torch.cat([g.negative.expand(n, -1, -1) for g, n in zip(self.guidances, self.sizes, strict=True)])
        condition = camera_condition(torch.cat([one.cameras.c2w for one in self.renders])).to(noisy)
        return self.backbone.predict_pair(noisy, timesteps, text, negative, condition, self.backbone.n_views)

    def reconstructed(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """The x0 that the latents are pulled to: one prediction, or the end of a few guided DDIM steps."""
        for left in range(self.config.target_steps, 0, -1):
            x0 = self._guided_x0(noisy, timesteps)
            if left > 1:
                noisy, timesteps = self._less_noisy(noisy, timesteps, x0, left)
        return self._shown(x0) if self.config.clamp_x0 else x0

    def _guided_x0(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        outputs = self.predict(noisy, timesteps)
        x0_text, x0_without = (predicted_x0(self.backbone, noisy, output, timesteps) for output in outputs)
        x0 = x0_without + self.config.guidance_scale * (x0_text - x0_without)
        return rescale_std(x0, x0_text, self.config.recon_std_rescale, self.backbone.n_views)

    def _less_noisy(self, noisy: Tensor, timesteps: Tensor, x0: Tensor, left: int) -> tuple[Tensor, Tensor]:
        """DDIM without fresh noise, of `left` equal steps down to none the first."""
        signal, sigma = noise_levels(self.backbone, timesteps)
        lower = timesteps * (left - 1) // left
        return add_noise(self.backbone, x0, (noisy - signal * x0) / sigma, lower), lower

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
