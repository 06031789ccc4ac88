"""The renders of a dataset as latents: encoded once, over several backgrounds, kept in half precision."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from dreamdist3d.files import write_atomic
from dreamdist3d.mini.backgrounds import random_scenes
from dreamdist3d.mini.dataset import VIEWS_PER_SET, MiniDataset
from dreamdist3d.mini.render import composite
from dreamdist3d.progress import bar

BACKGROUNDS = 3
_CHUNK = 16  # objects encoded at a time


@dataclass(frozen=True)
class EncodedDataset:
    """Scaled latents of every view over `BACKGROUNDS` backgrounds, and which kind each background is."""

    latents: Tensor  # float16 [N, sets, BACKGROUNDS, 4, c, h, w]
    kinds: Tensor  # uint8 [N, sets, BACKGROUNDS], positions in BACKGROUND_NAMES

    def to(self, device: torch.device | str) -> "EncodedDataset":
        """The same latents on a device."""
        return EncodedDataset(self.latents.to(device), self.kinds.to(device))


def load_latents(folder: Path) -> EncodedDataset:
    """What `encode_dataset` wrote, memory-mapped."""
    return EncodedDataset(
        torch.from_numpy(np.load(folder / "latents.npy", mmap_mode="c")),
        torch.from_numpy(np.load(folder / "backgrounds.npy")),
    )


@torch.no_grad()
def encode_dataset(vae: AutoencoderTiny, data: MiniDataset, folder: Path, seed: int) -> EncodedDataset:
    """Encode `data` into `folder`, or read what is there already.

    The four views of a set share their background, as the views of one lift step do.
    """
    if (folder / "latents.npy").exists():
        return load_latents(folder)
    generator = torch.Generator(vae.device).manual_seed(seed)
    sets = data.n_views // VIEWS_PER_SET
    encoded, kinds = [], []
    with bar("latents", len(data)) as progress:
        for first in range(0, len(data), _CHUNK):
            objects = torch.arange(first, min(first + _CHUNK, len(data)), device=vae.device)
            views = torch.arange(data.n_views, device=vae.device).repeat(len(objects))
            rgba = data.renders_at(objects.repeat_interleave(data.n_views), views)  # [n * V, S, S, 4]
            rgba = rgba.unflatten(0, (len(objects) * sets, 1, VIEWS_PER_SET)).expand(-1, BACKGROUNDS, -1, -1, -1, -1)
            scenes, kind = random_scenes(len(objects) * sets * BACKGROUNDS, rgba.shape[3], generator)
            pictures = composite(rgba, scenes.unflatten(0, (-1, BACKGROUNDS))[:, :, None])
            latents = vae.encode(pictures.flatten(0, 2)).latents * vae.config.scaling_factor
            shape = (len(objects), sets, BACKGROUNDS)
            encoded.append(latents.unflatten(0, (*shape, VIEWS_PER_SET)).half().cpu())
            kinds.append(kind.view(shape).to(torch.uint8).cpu())
            progress.advance(steps=len(objects))
    result = EncodedDataset(torch.cat(encoded), torch.cat(kinds))
    write_atomic(folder / "backgrounds.npy", lambda temporary: np.save(temporary, result.kinds.numpy()))
    # Last, so that a folder with `latents.npy` in it is a whole one.
    write_atomic(folder / "latents.npy", lambda temporary: np.save(temporary, result.latents.numpy()))
    return result
