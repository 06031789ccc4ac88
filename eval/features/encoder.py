"""What a judge of pictures is, and what all of them share."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from dreamdist3d.errors import UserError

# What readers of weights raise on files that are damaged, unsafe or another model's.
UNREADABLE = (OSError, EOFError, LookupError, RuntimeError, ValueError, SafetensorError, pickle.UnpicklingError)

_BATCH = 64


class ImageEncoder(Protocol):
    """Anything that can judge pictures, and what a report says of it.

    Attributes:
        name: for tables, such as "DINO ViT-S/16".
        model_id: architecture and SHA-256 of the weights; features of equal ids and equal `resize` are comparable.
        resize: filter, sizes and crop, in words. The filter alone moves scores (Parmar et al., CVPR 2022).
    """

    name: str
    model_id: str
    resize: str

    def encode(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """[N, 3, H, W], or N pictures [3, H, W] of any sizes, in [0, 1] -> [N, D] unit vectors on the CPU."""


@runtime_checkable
class TextEncoder(Protocol):
    """An encoder that reads sentences too."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> [N, D] unit vectors in the space of `encode`."""


@torch.no_grad()
def unit_features(
    images: Tensor | Sequence[Tensor],  # N pictures [3, H, W] in [0, 1]
    preprocess: Callable[[Tensor], Tensor],  # [3, H, W] -> [3, S, S]
    forward: Callable[[Tensor], Tensor],  # [B, 3, S, S] -> [B, D]
    batch: int = _BATCH,
) -> Tensor:
    """Unit vectors [N, D], a bounded number of pictures at a time.

    Raises:
        ValueError: no pictures.
    """
    if not len(images):
        raise ValueError("there are no pictures to encode")
    parts = []
    for start in range(0, len(images), batch):
        inputs = torch.stack([preprocess(image) for image in images[start : start + batch]])
        parts.append(forward(inputs).float().cpu())
    return F.normalize(torch.cat(parts), dim=-1)


def to_pillow(image: Tensor) -> Image.Image:
    """[3, H, W] in [0, 1] as the 8-bit picture that published preprocessing starts from."""
    return Image.fromarray((image * 255.0).round().clamp(0, 255).byte().movedim(0, -1).cpu().numpy())


def best_device() -> torch.device:
    """The first GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def local_checkpoint(path: Path, file: str, name: str) -> Path:
    """A checkpoint that the user names: the file itself, or the folder that holds it under its published name.

    Raises:
        UserError: neither.
    """
    if path.is_file():
        return path
    if (path / file).is_file():
        return path / file
    raise UserError(f"no weights for {name} in {path}: give a checkpoint file, or a folder with {file}.")


def does_not_load(path: Path, name: str, error: Exception) -> UserError:
    """The error for a checkpoint that is damaged, unsafe or another model's."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(":.")
    return UserError(
        f"{path} does not load as {name} ({reason}): give the published weights of that model as safetensors, "
        "or as a PyTorch file of plain weights."
    )
