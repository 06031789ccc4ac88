"""The reference images as latents, encoded once for the whole of learning."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from dreamdist3d.backbones import Backbone

CHUNK_PIXELS = 512 * 512  # at a time through the autoencoder, which bounds memory; a larger image goes alone


@dataclass(frozen=True, eq=False)
class ReferenceLatents:
    """Scaled latents of N images: the posterior's moments, or, without a posterior, the latents themselves."""

    mean: Tensor  # [N, c, h, w]
    std: Tensor | None  # [N, c, h, w]; None: the autoencoder is deterministic

    def __len__(self) -> int:
        return len(self.mean)

    def sample(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        """[B, c, h, w]: a fresh sample of each image's posterior."""
        chosen = list(indices)
        if self.std is None:
            return self.mean[chosen]
        noise = torch.randn(self.mean[chosen].shape, generator=generator).to(self.mean)
        return self.mean[chosen] + self.std[chosen] * noise


@torch.no_grad()
def encode_references(backbone: Backbone, pixels: Tensor) -> ReferenceLatents:
    """Encode [N, 3, H, W] pixels in [-1, 1]."""
    images = max(1, CHUNK_PIXELS // (pixels.shape[-1] * pixels.shape[-2]))
    chunks = [_posterior(backbone, chunk.to(backbone.device)) for chunk in pixels.split(images)]
    means, stds = zip(*chunks, strict=True)
    return ReferenceLatents(torch.cat(means), None if stds[0] is None else torch.cat(stds))


def _posterior(backbone: Backbone, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
    vae = backbone.vae
    if not isinstance(vae, AutoencoderKL):
        return backbone.encode_images(pixels), None
    posterior = vae.encode(pixels.to(backbone.vae_dtype)).latent_dist
    # Noised and compared in float32, whatever the autoencoder computes in.
    mean, std = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (posterior.mean, posterior.std))
    shift = vae.config.shift_factor or 0.0
    return (mean - shift) * vae.config.scaling_factor, std * vae.config.scaling_factor
