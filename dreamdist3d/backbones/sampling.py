"""Pictures from a backbone: DDIM with classifier-free guidance, from given noise."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dreamdist3d.backbones.backbone import Backbone, add_noise, predicted_noise, predicted_x0


def latent_shape(backbone: Backbone) -> tuple[int, int, int]:
    """[c, h, w] of one picture's latents."""
    config = backbone.unet.config
    return config.in_channels, config.sample_size, config.sample_size


@torch.no_grad()
def sample_images(
    backbone: Backbone,
    text: Tensor,  # [B, L, D]
    negative: Tensor,  # [L, D]
    noise: Tensor,  # [B, c, h, w]
    guidance_scale: float | Tensor,
    steps: int = 30,
    cameras: Tensor | None = None,  # [B, 16]
    n_views: int = 1,
    rescale: float = 0.0,
) -> Tensor:
    """Denoise `noise` to pictures [B, 3, H, W] in [0, 1]; arguments as of `sample_latents`."""
    latents = sample_latents(backbone, text, negative, noise, guidance_scale, steps, cameras, n_views, rescale)
    return (backbone.decode_latents(latents) / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def sample_latents(
    backbone: Backbone,
    text: Tensor,  # [B, L, D]
    negative: Tensor,  # [L, D]
    noise: Tensor,  # [B, c, h, w]
    guidance_scale: float | Tensor,
    steps: int = 30,
    cameras: Tensor | None = None,  # [B, 16]
    n_views: int = 1,
    rescale: float = 0.0,
) -> Tensor:
    """Denoise `noise` to scaled latents [B, c, h, w].

    Args:
        text, negative: hidden states of the prompts and of the negative prompt.
        noise: unit Gaussian; the same noise for several prompts shows what the prompts alone change.
        guidance_scale: 1 is no guidance; a number, or one for each picture [B, 1, 1, 1].
        steps: DDIM steps.
        cameras, n_views: the views of an object lie side by side; None is "no camera".
        rescale: brings the guided prediction's spread back to the unguided one's (Lin 2023, section 3.4), 0..1.
    """
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler.from_config(backbone.scheduler.config, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    latents = noise.to(backbone.device)
    texts = text.to(backbone.device), negative.expand(len(text), -1, -1).to(backbone.device)
    cameras = None if cameras is None else cameras.to(backbone.device)
    for t in scheduler.timesteps:
        timesteps = t.expand(len(text)).to(backbone.device)
        guided = _guided(backbone, latents, timesteps, *texts, guidance_scale, cameras, n_views, rescale)
        latents = scheduler.step(guided, t, latents).prev_sample
    return latents


@torch.no_grad()
def denoise(
    backbone: Backbone,
    latents: Tensor,  # [B, c, h, w]
    timesteps: Sequence[int],
    text: Tensor,  # [B, L, D]
    negative: Tensor,  # [L, D] or [B, L, D]
    guidance_scale: float,
    cameras: Tensor | None = None,  # [B, 16]
    n_views: int = 1,
    rescale: float = 0.0,
    edited: Callable[[Tensor, int], Tensor] = lambda clean, step: clean,
) -> Tensor:
    """DDIM without fresh noise, from latents as noisy as the first of the timesteps says to clean ones [B, c, h, w].

    The other arguments are those of `sample_images`; `edited` may change the clean latents that a step, counted from
    0, predicts.
    """
    device = backbone.device
    latents, text, negative = latents.to(device), text.to(device), negative.expand(len(text), -1, -1).to(device)
    cameras = None if cameras is None else cameras.to(device)
    for number, timestep in enumerate(timesteps):
        now = torch.full((len(latents),), timestep, device=device)
        guided = _guided(backbone, latents, now, text, negative, guidance_scale, cameras, n_views, rescale)
        clean = edited(predicted_x0(backbone, latents, guided, now), number)
        if number + 1 == len(timesteps):
            return clean
        noise = predicted_noise(backbone, latents, guided, now)
        latents = add_noise(backbone, clean, noise, torch.full_like(now, timesteps[number + 1]))
    return latents


def _guided(
    backbone: Backbone,
    latents: Tensor,
    timesteps: Tensor,
    text: Tensor,
    negative: Tensor,
    guidance_scale: float | Tensor,
    cameras: Tensor | None,
    n_views: int,
    rescale: float,
) -> Tensor:
    """The UNet's answer under classifier-free guidance, its spread brought back by a share of `rescale`."""
    with_text, without = backbone.predict_pair(latents, timesteps, text, negative, cameras, n_views)
    guided = without + guidance_scale * (with_text - without)
    spread = with_text.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
    return guided * (rescale * spread + 1 - rescale)
