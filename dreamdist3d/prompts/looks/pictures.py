"""2D pictures of draws, by the backbone's own sampler: the quick look before any lifting, and its sheet on disk."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dreamdist3d.backbones import Backbone, latent_shape, sample_images
from dreamdist3d.choices import Noise
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import ensure_folder, write_atomic, write_json
from dreamdist3d.progress import bar
from dreamdist3d.prompts.batches import embed_draws
from dreamdist3d.prompts.draw import PromptDraw
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.learning.settings import MINIATURE_SIZE
from dreamdist3d.prompts.source import PromptSource
from dreamdist3d.randomness import generator_for
from dreamdist3d.stopping import StopSignal

_PIXELS_AT_ONCE = 4 * 512 * 512  # what goes through the UNet in one call, in pixels of the result
_FORMATS = (".png", ".jpg", ".jpeg", ".webp")
_GAP, _LABEL = 6, 18


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
    source.check_model(backbone)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    negative = encoder.encode_text([sampling.negative]).hidden[0]
    text = embed_draws(source, draws, encoder)
    made: list[Tensor] = []
    with StopSignal() as stop, bar("sampling", len(draws)) as progress:
        for part in text.split(at_once(backbone)):
            if stop.requested:
                raise Stopped("sampling stopped: nothing is written.")
            made.append(sample_prompts(backbone, part, negative, sampling, first=sum(map(len, made))))
            progress.advance(steps=len(part))
    return torch.cat(made)


def at_once(backbone: Backbone) -> int:
    """How many pictures go through the UNet in one call."""
    return max(1, _PIXELS_AT_ONCE // backbone.image_size**2)


@torch.no_grad()
def sample_prompts(
    backbone: Backbone,
    text: Tensor,  # [B, L, D]
    negative: Tensor,  # [L, D]
    sampling: Sampling,
    first: int = 0,
) -> Tensor:
    """Pictures number `first` and following, one of each encoded prompt: [B, 3, S, S] in [0, 1], float32 on the CPU."""
    noise = initial_noise(latent_shape(backbone), len(text), sampling, first)
    pictures = sample_images(
        backbone, text, negative, noise, sampling.guidance, sampling.steps, rescale=sampling.rescale
    )
    return pictures.float().cpu()


def initial_noise(shape: Sequence[int], count: int, sampling: Sampling, first: int = 0) -> Tensor:
    """[count, c, h, w]: unit Gaussian of pictures number `first` and following, `matched` or `fresh`."""
    indices = [0] * count if sampling.noise == "matched" else range(first, first + count)
    return torch.stack([torch.randn(*shape, generator=generator_for(sampling.noise_seed, "noise", i)) for i in indices])


def check_picture(out: Path) -> None:
    """Find out now, not after the work, that the picture cannot be written.

    Raises:
        UserError: it has no picture's name, is a folder, or its folder cannot be written.
    """
    if out.suffix.lower() not in _FORMATS or out.is_dir():
        raise UserError(f"--out {out} must name a picture ({', '.join(_FORMATS)}), such as grid.png.")
    ensure_folder(out.parent)


def write_sheet(
    out: Path,
    pictures: Tensor,  # [N, 3, S, S] in [0, 1]
    draws: Sequence[PromptDraw],
    source: PromptSource,
    sampling: Sampling,
) -> None:
    """Write the labelled grid and, beside it with the suffix .json, what each picture is a draw of."""
    grid = picture_grid(pictures, [label_of(draw) for draw in draws])
    write_atomic(out, grid.save)
    record = {
        "distribution_sha256": source.content_hash,
        "sampling": asdict(sampling),
        "draws": [draw.to_dict() for draw in draws],
    }
    write_json(out.with_suffix(".json"), record)


def picture_grid(pictures: Tensor, labels: Sequence[str], cell: int = 128) -> Image.Image:
    """Pictures [N, 3, S, S] in [0, 1] in a nearly square grid, each above its label.

    Args:
        cell: pixels a side that small pictures are enlarged to; larger ones stay as they are.
    """
    columns = columns_for(len(pictures))
    side = max(cell, pictures.shape[-1])
    width, height = side + _GAP, side + _GAP + _LABEL
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = _GAP + index % columns * width, _GAP + index // columns * height
        sheet.paste(as_image(picture).resize((side, side), Image.Resampling.LANCZOS), (left, top))
        draw.text((left + side / 2, top + side + 3), label, (110, 112, 116), font, anchor="ma")
    return sheet


def columns_for(count: int) -> int:
    """Of a grid about as wide as high, with few empty places in its last row."""
    side = math.ceil(math.sqrt(count))
    return min(range(side, 2 * side + 1), key=lambda columns: (-count % columns, columns))


def label_of(draw: PromptDraw) -> str:
    """What tells a draw from its neighbours: its seed, and a mark for an antithetic twin."""
    name = "given" if draw.seed is None else f"{draw.seed}"
    return f"{name}{' twin' if draw.antithetic else ''}"


def as_image(picture: Tensor) -> Image.Image:
    """[3, H, W] in [0, 1] in 8 bits."""
    return Image.fromarray(np.ascontiguousarray((picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()))
