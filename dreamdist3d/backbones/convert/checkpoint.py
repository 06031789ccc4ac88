"""A whole original checkpoint file as the parts of a backbone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from dreamdist3d.backbones.convert.autoencoder import convert_autoencoder
from dreamdist3d.backbones.convert.tensors import looks_like, read_tensors
from dreamdist3d.backbones.convert.text import CLIP_PREFIX, OPEN_CLIP_PREFIX, convert_text_encoder, is_open_clip
from dreamdist3d.backbones.convert.tokenizer import END, clip_tokenizer
from dreamdist3d.backbones.convert.unet import PREFIX, convert_mvdream_unet, takes_cameras
from dreamdist3d.choices import Prediction
from dreamdist3d.errors import UserError
from dreamdist3d.quiet import quiet_loading

_PREDICTION_TYPES = get_args(Prediction)
# Stable Diffusion 2.x with v-prediction was trained at 768 pixels.
_V_PREDICTION_SIZE = 96
# Rounding of a schedule stored in half precision stays below; the nearest other schedule is a hundred times off.
_SCHEDULE_TOLERANCE = 1e-3


def parts_of_checkpoint(
    path: Path,
    n_views: int = 4,
    prediction_type: str = "epsilon",
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """An original MVDream or Stable Diffusion 1.x or 2.x checkpoint as diffusers parts, not frozen.

    Args:
        path: .safetensors, .ckpt, .pt, .pth or .bin, in any float precision; never unpickled.
        n_views: views that a multi-view UNet denoises together; others have 1.
        prediction_type: "epsilon" (MVDream, SD 1.x, SD 2.x base) or "v_prediction" (SD 2.x at 768 pixels);
            the tensors do not tell.
        dtype: of all weights.

    Returns:
        tokenizer, text_encoder, vae, unet, scheduler, n_views.

    Raises:
        UserError: the file is not such a checkpoint; names the first tensor that is missing or not known.
    """
    tensors = read_tensors(Path(path))
    _check_whole(tensors, path)
    try:
        with quiet_loading():
            return _parts(tensors, n_views, prediction_type, dtype)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def original_scheduler(prediction_type: str) -> DDPMScheduler:
    """The noise schedule of every Stable Diffusion and of MVDream.

    Raises:
        UserError: the prediction type is neither "epsilon" nor "v_prediction".
    """
    if prediction_type not in _PREDICTION_TYPES:
        raise UserError(f"prediction type {prediction_type!r} is not one of {', '.join(_PREDICTION_TYPES)}.")
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        clip_sample=False,
        prediction_type=prediction_type,
    )


def _parts(tensors: Mapping[str, Tensor], n_views: int, prediction_type: str, dtype: torch.dtype) -> dict[str, Any]:
    scheduler = original_scheduler(prediction_type)
    _check_schedule(tensors, scheduler)
    tokenizer = clip_tokenizer("!" if is_open_clip(tensors) else END)
    unet = convert_mvdream_unet(tensors, n_views, dtype)
    vae = convert_autoencoder(tensors, dtype)
    if unet.config.in_channels != vae.config.latent_channels:
        raise UserError(
            f"the UNet takes {unet.config.in_channels} channels, the autoencoder gives {vae.config.latent_channels}: "
            "inpainting and depth models are not supported."
        )
    if prediction_type == "v_prediction" and not takes_cameras(unet):
        unet.register_to_config(sample_size=_V_PREDICTION_SIZE)
    return {
        "tokenizer": tokenizer,
        "text_encoder": convert_text_encoder(tensors, tokenizer.pad_token_id, dtype),
        "vae": vae,
        "unet": unet,
        "scheduler": scheduler,
        "n_views": n_views if takes_cameras(unet) else 1,
    }


def _check_whole(tensors: Mapping[str, Tensor], path: Path) -> None:
    wanted = {
        "UNet": (PREFIX,),
        "autoencoder": ("first_stage_model.",),
        "text encoder": (OPEN_CLIP_PREFIX, CLIP_PREFIX),
    }
    for what, prefixes in wanted.items():
        if not any(key.startswith(prefixes) for key in tensors):
            raise UserError(f"{path} has no {what} (no {prefixes[0]}*){looks_like(tensors)}.")


def _check_schedule(tensors: Mapping[str, Tensor], scheduler: DDPMScheduler) -> None:
    stored = tensors.get("alphas_cumprod")
    if stored is None and "betas" in tensors:
        stored = (1 - tensors["betas"].double()).cumprod(0)
    if stored is None:
        return
    ours = scheduler.alphas_cumprod
    if stored.shape != ours.shape or (stored.float() - ours).abs().max() > _SCHEDULE_TOLERANCE:
        raise UserError("its noise schedule (alphas_cumprod) is not Stable Diffusion's, which is not supported.")
