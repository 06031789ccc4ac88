"""The miniature latent space: an AutoencoderTiny with f = 8, 64x64 pictures to 8x8 latents."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from dreamdist3d.mini.dataset import MiniDataset
from dreamdist3d.mini.loop import Stage
from dreamdist3d.mini.parallel import world_size
from dreamdist3d.mini.render import composite, random_backgrounds

LATENT_CHANNELS = 16
BATCH = 32
_LATENT_NOISE = 0.05
_LATENT_PENALTY = 1e-3


def build_autoencoder() -> AutoencoderTiny:
    """A new autoencoder. No normalisation and no attention: flat colours stay exact and gradients cheap."""
    width = 32
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(width,) * 4,
        decoder_block_out_channels=(width,) * 4,
        num_encoder_blocks=(0, 1, 2, 3),
        num_decoder_blocks=(3, 2, 2, 0),
        force_upcast=False,
    )


def autoencoder_stage(
    data: MiniDataset, model: AutoencoderTiny, steps: int, on_checkpoint: Callable[[int], None]
) -> Stage:
    """Mean squared error through slightly noised latents, which keeps the latent space smooth."""
    model.to(memory_format=torch.channels_last)

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        pictures = random_pictures(data, BATCH // world_size(), generator).contiguous(memory_format=torch.channels_last)
        latents = model.encode(pictures).latents
        noise = torch.randn(latents.shape, generator=generator) * _LATENT_NOISE
        restored = model.decode(latents + noise).sample
        error = F.mse_loss(restored, pictures)
        return {"loss": error + _LATENT_PENALTY * latents.square().mean(), "mse": error}

    return Stage(
        name="autoencoder",
        models={"vae": model},
        loss=loss,
        steps=steps,
        lr=2e-3,
        weight_decay=0.0,
        ema_decay=0.998,
        on_checkpoint=on_checkpoint,
    )


def random_pictures(data: MiniDataset, count: int, generator: torch.Generator) -> Tensor:
    """[count, 3, S, S] in [-1, 1]: random renders over random plain backgrounds."""
    objects = torch.randint(len(data), (count,), generator=generator).numpy()
    views = torch.randint(data.renders.shape[1], (count,), generator=generator).numpy()
    rgba = torch.from_numpy(data.renders[objects, views])
    return composite(rgba, random_backgrounds(count, generator))


@torch.no_grad()
def measure_scaling(model: AutoencoderTiny, data: MiniDataset) -> float:
    """1 / standard deviation of the latents: the scaling factor that gives them unit variance."""
    pictures = random_pictures(data, 512, torch.Generator().manual_seed(0))
    return float(1.0 / model.encode(pictures).latents.std())


@torch.no_grad()
def psnr(model: AutoencoderTiny, pictures: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of the round trip of [B, 3, S, S] pictures in [-1, 1]."""
    restored = model.decode(model.encode(pictures).latents).sample.clamp(-1, 1)
    return float(-10 * torch.log10(F.mse_loss(restored / 2, pictures / 2)))
