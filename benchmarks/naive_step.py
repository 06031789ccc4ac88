"""The published training step of DreamDistribution, done as its authors' code does it: what ours is measured against.

Every step reads the pictures of its batch, encodes them by the autoencoder, and encodes the K prompts once for EACH
image. All S draws are in one UNet call, there as here. Left out, in its favour: the garbage collection and the flush
of GPU memory after each step, the clipping of gradients, and the vision tower that is loaded and never used.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.prompts import LearnConfig, SoftPromptEncoder
from dreamdist3d.prompts.learning.coupling import shuffled_rounds
from dreamdist3d.prompts.learning.images import read_picture
from dreamdist3d.randomness import generator_for


class NaiveStep:
    """Tokens [K, M, d] and their optimizer; step n makes the same random numbers as `Learner`'s step n."""

    def __init__(
        self,
        backbone: Backbone,
        pictures: Sequence[Path],
        size: int,  # pixels
        config: LearnConfig,
        tokens: Tensor,  # [K, M, d] to start from
    ) -> None:
        self._backbone, self._pictures, self._size, self._config = backbone, pictures, size, config
        self._encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
        self.tokens = tokens.detach().clone().requires_grad_()
        self._optimizer = torch.optim.AdamW([self.tokens], lr=config.lr, weight_decay=0.0)
        self.step = 0

    def advance(self) -> float:
        """One step; returns the loss before it."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        self._optimizer.step()
        self.step += 1
        return float(loss.detach())

    def loss(self) -> Tensor:
        """Denoising loss and orthogonality of one batch."""
        config, device = self._config, self._backbone.device
        generator = generator_for(config.seed, "step", self.step)
        latents = self._encode_pictures(generator)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        schedule = self._backbone.alphas_cumprod
        timesteps = torch.randint(len(schedule), (config.batch,), generator=generator).to(device)
        signal, sigma = (
            level.view(-1, 1, 1, 1) for level in (schedule[timesteps].sqrt(), (1 - schedule[timesteps]).sqrt())
        )
        hidden, overlap = self._encode_prompts()
        text = self._reparameterize(hidden, generator)
        noisy = (signal * latents + sigma * noise).repeat_interleave(config.samples, 0)
        target = signal * noise - sigma * latents if self._backbone.prediction_type == "v_prediction" else noise
        predicted = self._backbone.predict(noisy, timesteps.repeat_interleave(config.samples), text.flatten(0, 1))
        return F.mse_loss(predicted.float(), target.repeat_interleave(config.samples, 0)) + config.ortho * overlap

    def _encode_pictures(self, generator: torch.Generator) -> Tensor:
        first, count = self.step * self._config.batch, len(self._pictures)
        chosen = shuffled_rounds(count, first, first + self._config.batch, self._config.seed)
        pixels = np.stack([read_picture(self._pictures[index], self._size) for index in chosen])
        vae = self._backbone.vae
        with torch.no_grad():
            encoded = vae.encode(torch.from_numpy(pixels).to(self._backbone.device, self._backbone.vae_dtype))
        if not isinstance(vae, AutoencoderKL):
            return encoded.latents.float() * vae.config.scaling_factor
        mean, std = encoded.latent_dist.mean.float(), encoded.latent_dist.std.float()
        return (mean + std * torch.randn(mean.shape, generator=generator).to(mean)) * vae.config.scaling_factor

    def _encode_prompts(self) -> tuple[Tensor, Tensor]:
        """Hidden states [B, K, L, D] of the same K prompts for each image, and their orthogonality."""
        config = self._config
        features = self._encoder.encode(self.tokens.repeat(config.batch, 1, 1), config.prefix, config.suffix)
        hidden = features.hidden.unflatten(0, (config.batch, config.prompts)).float()
        unit = F.normalize(features.pooled.float(), dim=-1).unflatten(0, (config.batch, config.prompts))
        cosines = (unit @ unit.mT).abs().triu(diagonal=1)
        return hidden, cosines.sum() / config.batch / max(1, config.prompts * (config.prompts - 1))

    def _reparameterize(self, hidden: Tensor, generator: torch.Generator) -> Tensor:
        """S draws [B, S, L, D] for each image."""
        batch, count, samples = *hidden.shape[:2], self._config.samples
        mu = hidden.mean(1, keepdim=True)
        if self._config.covariance == "diagonal":
            omega = torch.randn((batch, samples, *hidden.shape[2:]), generator=generator).to(hidden)
            return mu + omega * hidden.std(1, correction=0, keepdim=True)
        omega = torch.randn((batch, samples, count), generator=generator).to(hidden)
        return mu + torch.einsum("bsk,bkld->bsld", omega, hidden - mu) / math.sqrt(max(1, count - 1))
