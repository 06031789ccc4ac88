"""The renders of a dataset as latents: encoded once, over several backgrounds, kept in half precision."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from dreamdist3d.files import write_atomic
from dreamdist3d.mini.dataset import VIEWS_PER_SET, MiniDataset
from dreamdist3d.mini.render import composite, random_backgrounds
from dreamdist3d.progress import bar

BACKGROUNDS = 3


@torch.no_grad()
def encode_dataset(vae: AutoencoderTiny, data: MiniDataset, path: Path, seed: int) -> Tensor:
    """Scaled latents [N, sets, BACKGROUNDS, 4, c, h, w] in float16, read from `path` once they are there.

    The four views of a set share their background, as the views of one lift step do.
    """
    if path.exists():
        return torch.from_numpy(np.load(path))
    generator = torch.Generator().manual_seed(seed)
    objects, views = data.renders.shape[:2]
    sets = views // VIEWS_PER_SET
    encoded = []
    with bar("latents", objects) as progress:
        for index in range(objects):
            rgba = torch.from_numpy(np.array(data.renders[index])).unflatten(0, (sets, 1, VIEWS_PER_SET))
            color = random_backgrounds(sets * BACKGROUNDS, generator).view(sets, BACKGROUNDS, 1, 3)
            pictures = composite(
                rgba.expand(sets, BACKGROUNDS, *rgba.shape[2:]), color.expand(-1, -1, VIEWS_PER_SET, -1)
            )
            latents = vae.encode(pictures.flatten(0, 2)).latents * vae.config.scaling_factor
            encoded.append(latents.unflatten(0, pictures.shape[:3]).half())
            progress.advance()
    result = torch.stack(encoded)
    write_atomic(path, lambda temporary: np.save(temporary, result.numpy()))
    return result
