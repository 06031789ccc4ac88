"""The miniature latent space: an AutoencoderTiny with f = 4, 64x64 pictures to 16x16 latents."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from dreamdist3d.mini.backgrounds import random_scenes
from dreamdist3d.mini.dataset import MiniDataset
from dreamdist3d.mini.loop import Stage
from dreamdist3d.mini.parallel import world_size
from dreamdist3d.mini.render import composite

LATENT_CHANNELS = 8
BATCH = 32
_LATENT_NOISE = 0.05
_LATENT_PENALTY = 1e-3


def build_autoencoder() -> AutoencoderTiny:
    """A new autoencoder. No normalisation and no attention: flat colours stay exact and gradients cheap.

    The encoder, which every step of a lift runs forward and backward, is the narrower half.
    """
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(32,) * 3,
        decoder_block_out_channels=(48,) * 3,
        num_encoder_blocks=(0, 2, 4),
        num_decoder_blocks=(4, 2, 1),
        force_upcast=False,
    )


def autoencoder_stage(
    data: MiniDataset, model: AutoencoderTiny, steps: int, on_checkpoint: Callable[[int], None], batch: int = BATCH
) -> Stage:
    """Mean squared error through slightly noised latents, which keeps the latent space smooth."""
    model.to(memory_format=torch.channels_last)

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        pictures = random_pictures(data, batch // world_size(), generator).contiguous(memory_format=torch.channels_last)
        latents = model.encode(pictures).latents
        noise = torch.randn(latents.shape, generator=generator, device=generator.device) * _LATENT_NOISE
        restored = model.decode(latents + noise).sample
        error = F.mse_loss(restored.float(), pictures)
        return {"loss": error + _LATENT_PENALTY * latents.float().square().mean(), "mse": error}

    return Stage(
        name="autoencoder",
        models={"vae": model},
        losses={"loss": (1.0, loss)},
        steps=steps,
        lr=2e-3,
        weight_decay=0.0,
        ema_decay=0.998,
        on_checkpoint=on_checkpoint,
    )


def random_pictures(data: MiniDataset, count: int, generator: torch.Generator) -> Tensor:
    """[count, 3, S, S] in [-1, 1]: random renders over random backgrounds."""
    objects = torch.randint(len(data), (count,), generator=generator, device=generator.device)
    rgba = data.random_renders(objects, generator)
    return composite(rgba, random_scenes(count, rgba.shape[1], generator)[0])


@torch.no_grad()
def measure_scaling(model: AutoencoderTiny, data: MiniDataset) -> float:
    """1 / standard deviation of the latents: the scaling factor that gives them unit variance."""
    pictures = random_pictures(data, 512, torch.Generator(model.device).manual_seed(0))
    return float(1.0 / model.encode(pictures).latents.std())


@torch.no_grad()
def psnr(model: AutoencoderTiny, pictures: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of the round trip of [B, 3, S, S] pictures in [-1, 1]."""
    restored = model.decode(model.encode(pictures).latents).sample.clamp(-1, 1)
    return float(-10 * torch.log10(F.mse_loss(restored / 2, pictures / 2)))
