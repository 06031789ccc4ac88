"""2D pictures of draws, by the backbone's own sampler: the quick look before any lifting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dreamdist3d.backbones import Backbone, latent_shape, sample_images
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.progress import bar
from dreamdist3d.prompts.draw import PromptDraw
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.randomness import generator_for
from dreamdist3d.prompts.settings import MINIATURE_SIZE
from dreamdist3d.prompts.source import PromptSource
from dreamdist3d.stopping import StopSignal

Noise = Literal["fresh", "matched"]
_PIXELS_AT_ONCE = 4 * 512 * 512  # what goes through the UNet in one call, in pixels of the result


@dataclass(frozen=True)
class Sampling:
    """How pictures are sampled.

    Args:
        guidance: classifier-free guidance scale; 1 is none.
        steps: of DDIM.
        rescale: brings the guided prediction's spread back to the unguided one's (Lin 2023), 0..1.
        noise: `fresh` for each picture, or `matched`: the same for all, so that only the draws differ.
        noise_seed: of the initial noise; picture i's noise depends on it and i alone.
        negative: the negative prompt.

    Raises:
        UserError: a value out of its range, by name.
    """

    guidance: float = 7.5
    steps: int = 30
    rescale: float = 0.0
    noise: Noise = "fresh"
    noise_seed: int = 0
    negative: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise UserError(f"guidance={self.guidance} is out of range: it must be a finite number of at least 0.")
        if self.steps < 1:
            raise UserError(f"steps={self.steps} is out of range: it must be at least 1.")
        if not 0 <= self.rescale <= 1:
            raise UserError(f"rescale={self.rescale} is out of range: it must be between 0 and 1.")


def rescale_for(backbone: Backbone) -> float:
    """The rescaling to start from: the miniature's strong guidance burns its colours without, full size needs none."""
    return 0.6 if backbone.image_size <= MINIATURE_SIZE else 0.0


@torch.no_grad()
def sample_pictures(
    backbone: Backbone, source: PromptSource, draws: Sequence[PromptDraw], sampling: Sampling
) -> Tensor:
    """One picture of each draw: [N, 3, S, S] in [0, 1], float32 on the CPU.

    Raises:
        Stopped: Ctrl-C or SIGTERM.
        UserError: a prompt is too long, or the distribution is of another text encoder.
    """
    source.check_encoder(backbone.fingerprint)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    negative = encoder.encode_text([sampling.negative]).hidden[0]
    text = torch.stack([source.embed(draw, encoder) for draw in draws])
    noise = initial_noise(latent_shape(backbone), len(draws), sampling)
    size = max(1, _PIXELS_AT_ONCE // backbone.image_size**2)
    made = []
    with StopSignal() as stop, bar("sampling", len(draws)) as progress:
        for part, start in zip(text.split(size), noise.split(size), strict=True):
            if stop.requested:
                raise Stopped("sampling stopped: nothing is written.")
            pictures = sample_images(
                backbone, part, negative, start, sampling.guidance, sampling.steps, rescale=sampling.rescale
            )
            made.append(pictures.float().cpu())
            progress.advance(steps=len(part))
    return torch.cat(made)


def initial_noise(shape: Sequence[int], count: int, sampling: Sampling) -> Tensor:
    """[count, c, h, w]: unit Gaussian, `matched` or `fresh`."""
    indices = [0] * count if sampling.noise == "matched" else range(count)
    return torch.stack([torch.randn(*shape, generator=generator_for(sampling.noise_seed, "noise", i)) for i in indices])
