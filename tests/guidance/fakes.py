"""A backbone small enough to do by hand: an invertible autoencoder and a predictor linear in all it is given."""

from types import SimpleNamespace

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from dreamdist3d.backbones import Backbone

LENGTH, WIDTH, CHANNELS = 3, 5, 12


class InvertibleVae(nn.Module):
    """Every 2x2 block of pixels becomes twelve channels: decode(encode(x)) = x, encode(decode(z)) = z."""

    config = SimpleNamespace(scaling_factor=0.7, shift_factor=0.1)

    def encode(self, pixels: Tensor) -> SimpleNamespace:
        return SimpleNamespace(latents=nn.functional.pixel_unshuffle(pixels, 2))

    def decode(self, latents: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=nn.functional.pixel_shuffle(latents, 2))


class LinearUNet(nn.Module):
    """0.4 z + text W + camera U, and a memory of what it was asked."""

    config = SimpleNamespace(class_embed_type="projection", projection_class_embeddings_input_dim=16)

    def __init__(self, size: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(8)
        self.shape = (CHANNELS, size, size)
        cells = CHANNELS * size * size
        self.from_text = nn.Parameter(torch.randn(LENGTH * WIDTH, cells, generator=generator) * 0.2)
        self.from_camera = nn.Parameter(torch.randn(16, cells, generator=generator) * 0.1)
        self.seen: list[dict[str, Tensor | int]] = []

    def forward(self, latents, timesteps, encoder_hidden_states, class_labels, cross_attention_kwargs):
        asked = {"latents": latents, "timesteps": timesteps, "text": encoder_hidden_states, "cameras": class_labels}
        self.seen.append({name: value.detach().clone() for name, value in asked.items()} | cross_attention_kwargs)
        return SimpleNamespace(sample=self.answer(latents, encoder_hidden_states, class_labels))

    def answer(self, latents: Tensor, text: Tensor, cameras: Tensor) -> Tensor:
        """In whatever precision the latents have."""
        kind = latents.dtype
        moved = text.flatten(1).to(kind) @ self.from_text.to(kind) + cameras.to(kind) @ self.from_camera.to(kind)
        return 0.4 * latents + moved.unflatten(1, self.shape)


def linear_backbone(prediction_type: str = "v_prediction", n_views: int = 4, image_size: int = 8) -> Backbone:
    """A real `Backbone` around the fakes."""
    return Backbone(
        name="linear",
        source="memory",
        tokenizer=None,
        text_encoder=None,
        vae=InvertibleVae(),
        unet=LinearUNet(image_size // 2),
        scheduler=DDPMScheduler(beta_schedule="scaled_linear", prediction_type=prediction_type),
        n_views=n_views,
        image_size=image_size,
        fingerprint="",
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
