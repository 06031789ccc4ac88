"""A frozen latent diffusion model and the few operations the rest of the road needs from it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dreamdist3d.backbones.identity import earlier_fingerprint_of, identity_of


@dataclass
class Backbone:
    """Tokenizer, text encoder, autoencoder, UNet and noise schedule of one model, frozen.

    `n_views` is the number of views the UNet denoises jointly (1: plain Stable Diffusion), `image_size`
    is in pixels, `fingerprint` identifies the text encoder and its vocabulary. `dtype` is
    the UNet's; the autoencoder may have another (`vae_dtype`). `low_vram` trades time for memory: pictures
    go through the autoencoder one by one, the two sides of guidance through the UNet one after the other.
    """

    name: str
    source: str
    tokenizer: Any
    text_encoder: Any
    vae: Any
    unet: Any
    scheduler: Any
    n_views: int
    image_size: int
    fingerprint: str
    device: torch.device
    dtype: torch.dtype
    low_vram: bool = False
    reference_attention: str = ""  # hash of what was installed by `see_references`
    _identity: str | None = field(default=None, repr=False)

    @cached_property
    def earlier_fingerprint(self) -> str:
        """What files of earlier versions call its text encoder."""
        return earlier_fingerprint_of(self.tokenizer, self.text_encoder)

    @property
    def identity(self) -> str:
        """Hex SHA-256 of all its weights, the vocabulary and the noise schedule; hashed when first asked for."""
        if self._identity is None:
            self._identity = identity_of(self.fingerprint, self.vae, self.unet, self.scheduler)
        return self._identity

    @property
    def vae_dtype(self) -> torch.dtype:
        """Of the autoencoder's weights."""
        return next((weight.dtype for weight in self.vae.parameters()), self.dtype)

    @property
    def prediction_type(self) -> str:
        """What the UNet predicts: "epsilon" or "v_prediction"."""
        return self.scheduler.config.prediction_type

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """Cumulative alphas of the noise schedule, float32 [T], on the backbone's device."""
        return self.scheduler.alphas_cumprod.to(self.device, torch.float32)

    def encode_images(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[B, 3, H, W] in [-1, 1] to scaled latents [B, c, h, w], at least float32; differentiable.

        Args:
            pixels: images; cast to the autoencoder's dtype.
            generator: samples the posterior of autoencoders that have one; None takes its mode.
        """
        latents = _at_least_float32(self._in_pieces(self._encoded, pixels.to(self.device, self.vae_dtype)))
        if self._has_posterior:
            from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

            posterior = DiagonalGaussianDistribution(latents)
            latents = posterior.mode() if generator is None else posterior.sample(generator)
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        return (latents - shift) * self.vae.config.scaling_factor

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents to [B, 3, H, W], about [-1, 1], not clamped, at least float32."""
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        unscaled = _at_least_float32(latents) / self.vae.config.scaling_factor + shift
        return _at_least_float32(self._in_pieces(lambda z: self.vae.decode(z).sample, unscaled.to(self.vae_dtype)))

    def predict(
        self,
        latents: Tensor,  # [B, c, h, w]
        timesteps: Tensor,  # [B]
        text: Tensor,  # [B, L, D]
        cameras: Tensor | None = None,  # [B, 16]
        n_views: int = 1,
    ) -> Tensor:
        """The UNet's raw output [B, c, h, w]. `cameras=None`, or a row of zeros, is "no camera" (`no_camera`).

        B must be a multiple of `n_views`, the views of an object side by side.
        """
        extra: dict[str, Any] = {}
        if self.unet.config.class_embed_type == "projection":
            if cameras is None:
                cameras = latents.new_zeros(len(latents), self.unet.config.projection_class_embeddings_input_dim)
            extra["class_labels"] = cameras.to(self.dtype)
            extra["cross_attention_kwargs"] = {"n_views": n_views}
        return self.unet(latents.to(self.dtype), timesteps, encoder_hidden_states=text.to(self.dtype), **extra).sample

    def predict_pair(
        self,
        latents: Tensor,  # [B, c, h, w]
        timesteps: Tensor,  # [B]
        text: Tensor,  # [B, L, D]
        negative: Tensor,  # [B, L, D]
        cameras: Tensor | None = None,  # [B, 16]
        n_views: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """`predict`, in float32, for the prompts and for the negative ones: what classifier-free guidance mixes.

        One call of the UNet on 2 B latents, or, with `low_vram`, two on B. Where prompts have references behind their
        words, negative ones have zeros, which are none.
        """
        if negative.shape[1] < text.shape[1]:
            negative = F.pad(negative, (0, 0, 0, text.shape[1] - negative.shape[1]))
        if self.low_vram:
            with_text, without = (self.predict(latents, timesteps, c, cameras, n_views) for c in (text, negative))
            return with_text.float(), without.float()
        both = None if cameras is None else cameras.repeat(2, 1)
        texts = torch.cat([text, negative])
        output = self.predict(latents.repeat(2, 1, 1, 1), timesteps.repeat(2), texts, both, n_views)
        with_text, without = output.float().chunk(2)
        return with_text, without

    def _encoded(self, pixels: Tensor) -> Tensor:
        """Unscaled latents, or the posterior's mean and log variance, [B, 2 c, h, w]."""
        encoded = self.vae.encode(pixels)
        return encoded.latent_dist.parameters if self._has_posterior else encoded.latents

    @property
    def _has_posterior(self) -> bool:
        """Whether the autoencoder is variational."""
        from diffusers import AutoencoderKL

        return isinstance(self.vae, AutoencoderKL)

    def _in_pieces(self, function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """`function(batch)`; with `low_vram` one picture at a time, and nothing kept for the backward pass.

        The autoencoders' own checkpointing is no way to this: AutoencoderTiny's skips its rescaling of pixels.
        """
        if not self.low_vram:
            return function(batch)
        return torch.cat([checkpoint(function, one, use_reentrant=False) for one in batch.split(1)])


def add_noise(backbone: Backbone, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """z_t = sqrt(abar_t) z + sqrt(1 - abar_t) eps, per sample."""
    signal, sigma = noise_levels(backbone, timesteps)
    return signal * latents + sigma * noise


def diffusion_target(backbone: Backbone, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What the UNet should answer: eps, or v = sqrt(abar) eps - sqrt(1 - abar) z."""
    if backbone.prediction_type == "epsilon":
        return noise
    signal, sigma = noise_levels(backbone, timesteps)
    return signal * noise - sigma * latents


def predicted_x0(backbone: Backbone, noisy: Tensor, output: Tensor, timesteps: Tensor) -> Tensor:
    """The clean latents that a UNet output means."""
    signal, sigma = noise_levels(backbone, timesteps)
    if backbone.prediction_type == "epsilon":
        return (noisy - sigma * output) / signal
    return signal * noisy - sigma * output


def predicted_noise(backbone: Backbone, noisy: Tensor, output: Tensor, timesteps: Tensor) -> Tensor:
    """The noise that a UNet output means."""
    if backbone.prediction_type == "epsilon":
        return output
    signal, sigma = noise_levels(backbone, timesteps)
    return signal * output + sigma * noisy


def noise_levels(backbone: Backbone, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(abar_t) and sqrt(1 - abar_t), each [B, 1, 1, 1]."""
    alphas = backbone.alphas_cumprod[timesteps.to(backbone.device)].view(-1, 1, 1, 1)
    return alphas.sqrt(), (1 - alphas).sqrt()


def _at_least_float32(x: Tensor) -> Tensor:
    """Latents are noised, mixed and compared in float32, whatever made them."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
