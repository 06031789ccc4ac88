"""Pictures of how far the training is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor

from dreamdist3d.backbones import latent_shape, load_backbone, sample_images
from dreamdist3d.files import write_atomic
from dreamdist3d.lift.cameras import camera_condition, orbit
from dreamdist3d.mini.text import tokenize

SAMPLE_CAPTIONS = (
    "a spotted red mushroom with a tall white stem",
    "a blue chair with brown legs",
    "a round green table with thin black legs",
    "a wide striped yellow and blue mug with a big purple handle",
    "an orange house with a pointed red roof",
    "a tall metallic gray rocket with big red fins",
    "a pointed green tree with a thick brown trunk",
    "a wide dotted pink and white lamp with a tall black pole",
    "a white snowman with a tall blue hat",
    "a long glossy purple car with big black wheels",
    "a two-tone white and red boat with a wide yellow sail",
    "a glossy dotted teal and white teapot with a yellow lid",
    "a tall gray tower with a blue top",
    "a striped yellow and black bird with short orange wings",
    "a glossy orange flowerpot with big pink flowers",
    "a long metallic gray sword with a wide brown guard",
    "a brown barrel with thick gray hoops",
    "a metallic yellow lantern with a thick black frame",
    "a striped orange and white fish with big blue fins",
    "a checked pink and white cake with a thick brown icing",
)
SAMPLE_GUIDANCE = 3.0  # for pictures of captions; lifts want the stronger colours of configs/dreamdist3d/mini.yaml


@torch.no_grad()
def save_reconstructions(model: AutoencoderTiny, pictures: Tensor, path: Path) -> None:
    """Pictures [B, 3, S, S] in [-1, 1] above their round trips."""
    restored = model.decode(model.encode(pictures).latents).sample.clamp(-1, 1)
    save_grid([list(pictures.cpu() / 2 + 0.5), list(restored.cpu() / 2 + 0.5)], path)


@torch.no_grad()
def save_samples(weights: Path, path: Path, guidance_scale: float = SAMPLE_GUIDANCE, seed: int = 0) -> None:
    """Four views of twenty captions, four captions a row, from a packaged backbone."""
    backbone = load_backbone(str(weights))
    ids = tokenize(backbone.tokenizer, [*SAMPLE_CAPTIONS, ""])
    hidden = backbone.text_encoder(ids).last_hidden_state
    azimuths = torch.tensor([20.0, 110.0, 200.0, 290.0])
    same = torch.ones(4)
    cameras = camera_condition(orbit(azimuths, same * 15.0, same * 1.55, same * 40.0).c2w)
    count = len(SAMPLE_CAPTIONS)
    noise = torch.randn(count * 4, *latent_shape(backbone), generator=torch.Generator().manual_seed(seed))
    pictures = sample_images(
        backbone,
        hidden[:count].repeat_interleave(4, dim=0),
        hidden[count],
        noise,
        guidance_scale,
        cameras=cameras.repeat(count, 1),
        n_views=4,
        rescale=0.6,
    )
    save_grid([list(pictures[i : i + 16]) for i in range(0, len(pictures), 16)], path)


def save_grid(rows: Sequence[Sequence[Tensor]], path: Path, zoom: int = 2) -> None:
    """Rows of [3, S, S] pictures in [0, 1] as one PNG."""
    whole = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    array = (whole.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.ascontiguousarray(array))
    picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    write_atomic(path, picture.save)
