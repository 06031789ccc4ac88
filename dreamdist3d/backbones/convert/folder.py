"""A folder in the layout of ashawkey/mvdream-sd2.1-diffusers: a UNet class of its own, with original tensor names."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler
from transformers import CLIPTextModel, CLIPTokenizer

from dreamdist3d.backbones.convert.tensors import read_tensors
from dreamdist3d.backbones.convert.unet import convert_mvdream_unet
from dreamdist3d.backbones.parts import check_layout, load_model, load_part
from dreamdist3d.errors import UserError
from dreamdist3d.quiet import quiet_loading

_UNET_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def parts_of_mvdream_folder(
    folder: Path,
    n_views: int = 4,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Such a folder's parts with a stock UNet, not frozen.

    Args:
        folder: one that `is_mvdream_folder`.
        n_views: views that the UNet denoises together; the folder does not say.
        dtype: of all weights.

    Returns:
        tokenizer, text_encoder, vae, unet, scheduler, n_views.

    Raises:
        UserError: a part is missing or damaged, or the UNet is ImageDream's.
    """
    folder = Path(folder)
    check_layout(folder)
    with quiet_loading():
        return {
            "tokenizer": load_part(CLIPTokenizer, folder / "tokenizer"),
            "text_encoder": load_model(CLIPTextModel, folder / "text_encoder").to(dtype).eval(),
            "vae": load_model(AutoencoderKL, folder / "vae").to(dtype).eval(),
            "unet": _unet(folder / "unet", n_views, dtype),
            "scheduler": load_part(DDPMScheduler, folder / "scheduler"),
            "n_views": n_views,
        }


def _unet(folder: Path, n_views: int, dtype: torch.dtype) -> Any:
    path = next((folder / name for name in _UNET_FILES if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"{folder} has no weights: it needs {' or '.join(_UNET_FILES)}.")
    try:
        return convert_mvdream_unet(read_tensors(path), n_views, dtype)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
