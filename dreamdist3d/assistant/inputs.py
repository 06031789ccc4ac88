"""What a language model sees of pictures, and the space in which the picture wanted is told (CAFE, section 3.1).

In the miniature both come from the packaged CLIP's picture tower, which `evaluate` also scores with: it only reads
pictures here, and what the assistant makes is checked by `dreamdist3d.mini.measures`, which know nothing of it.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.errors import UserError, one_line
from dreamdist3d.quiet import quiet_loading

_GRID = 3  # patches of the miniature are pooled to so many a side


class PictureInputs(Protocol):
    """Frozen encoders of pictures. `name` is written into files: what was trained with one is used with it."""

    name: str
    width: int  # F
    wanted_width: int  # S

    def __call__(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, H, W] in [0, 1] -> features [N, P, F], and global embeddings [N, S] of mean square 1."""


class ClipInputs:
    """A CLIP's picture tower: class token and patches for the language model, its embedding as what is wanted.

    Args:
        folder: a CLIP model as transformers saves it, such as openai/clip-vit-large-patch14-336.
        grid: patches are pooled to so many a side; None leaves them as they are.

    Raises:
        UserError: the folder is missing, or holds no CLIP.
    """

    def __init__(self, folder: Path, grid: int | None = None, name: str = "") -> None:
        self.name, self.grid = name or f"clip:{Path(folder).name}", grid
        self._model = _load_clip(Path(folder))
        config = self._model.config
        self._size, self.width, self.wanted_width = config.image_size, config.hidden_size, config.projection_dim
        mean, std = _normalisation(Path(folder))
        self._mean, self._std = mean.view(3, 1, 1), std.view(3, 1, 1)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """As `PictureInputs`."""
        size = (self._size, self._size)
        if pictures.shape[-2:] != size:
            pictures = F.interpolate(pictures, size, mode="bilinear", antialias=True)
        output = self._model(pixel_values=(pictures - self._mean) / self._std)
        wanted = F.normalize(output.image_embeds, dim=-1) * self.wanted_width**0.5
        return _pooled(output.last_hidden_state, self.grid), wanted


def mini_inputs() -> ClipInputs:
    """The packaged CLIP, class token and 3 x 3 pooled patches: [N, 10, 128]."""
    return ClipInputs(Path(str(files("dreamdist3d.mini"))) / "weights" / "judges" / "clip", _GRID, "mini-clip")


def _pooled(hidden: Tensor, grid: int | None) -> Tensor:
    """Class token and patches [N, 1 + side^2, F], the patches pooled to `grid` a side."""
    if grid is None:
        return hidden
    patches = hidden[:, 1:].mT
    side = round(patches.shape[-1] ** 0.5)
    pooled = F.adaptive_avg_pool2d(patches.unflatten(-1, (side, side)), grid)
    return torch.cat([hidden[:, :1], pooled.flatten(2).mT], dim=1)


def _load_clip(folder: Path) -> Any:
    from transformers import CLIPVisionModelWithProjection

    if not (folder / "config.json").is_file():
        raise UserError(f"no CLIP in {folder}: name a folder such as a copy of openai/clip-vit-large-patch14-336.")
    try:
        with quiet_loading():
            model, info = CLIPVisionModelWithProjection.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True, torch_dtype=torch.float32
            )
        if info["missing_keys"]:
            raise ValueError(f"no weights for {sorted(info['missing_keys'])[0]}")
    except Exception as error:  # safetensors, transformers and torch each raise their own
        raise UserError(f"the CLIP in {folder} does not load: {one_line(error)[:200]}") from error
    return model.float().eval().requires_grad_(False)


def _normalisation(folder: Path) -> tuple[Tensor, Tensor]:
    from dreamdist3d.files import read_json

    path = folder / "preprocessor_config.json"
    stored = read_json(path) if path.is_file() else {}
    half = [0.5, 0.5, 0.5]
    return torch.tensor(stored.get("image_mean", half)), torch.tensor(stored.get("image_std", half))
