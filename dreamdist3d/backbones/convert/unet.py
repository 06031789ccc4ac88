"""The UNet of an original checkpoint as a stock diffusers UNet."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from torch import Tensor

from dreamdist3d.backbones.convert.tensors import filled, looks_like, shape_of, without_prefix
from dreamdist3d.backbones.joint_attention import install_joint_attention
from dreamdist3d.backbones.no_camera import leave_out_missing_cameras
from dreamdist3d.errors import UserError

PREFIX = "model.diffusion_model."
# Latent sizes the published models were trained at: MVDream 256 pixels, Stable Diffusion 512.
_MULTI_VIEW_SIZE, _SINGLE_VIEW_SIZE = 32, 64
_HEAD_WIDTH, _SD1_HEADS = 64, 8
_WHAT = "the UNet"


def convert_mvdream_unet(
    state_dict: Mapping[str, Tensor],
    n_views: int = 4,
    dtype: torch.dtype = torch.float32,
) -> UNet2DConditionModel:
    """A UNet of MVDream's or Stable Diffusion's own code as a stock diffusers UNet in eval mode.

    With a camera embedding (MVDream, section 3.2) it has joint attention over `n_views` views and is called
    as `unet(latents, t, encoder_hidden_states=h, class_labels=cameras)` with cameras [B, 16]; without one it
    is a plain Stable Diffusion UNet. The architecture is read from the tensors' shapes. Averaged (EMA)
    weights are taken where the file has them, as in the published diffusers folders.

    Args:
        state_dict: the UNet's tensors with or without `model.diffusion_model.`; others are ignored if with.
        n_views: views denoised together by default.
        dtype: of the weights; tensors that have it already are shared, not copied.

    Raises:
        UserError: a tensor is missing, left over or of an unknown layout; says what the file seems to be.
    """
    tensors = _own_tensors(state_dict)
    config = unet_config(tensors)
    renamed = _renamed(tensors, config)
    with init_empty_weights():
        unet = UNet2DConditionModel(**config)
    filled(unet, renamed, dtype, _WHAT)
    return leave_out_missing_cameras(install_joint_attention(unet, n_views)) if takes_cameras(unet) else unet


def takes_cameras(unet: UNet2DConditionModel) -> bool:
    """Whether this is a multi-view UNet."""
    return unet.config.class_embed_type == "projection"


def unet_config(
    tensors: Mapping[str, Tensor],  # without prefix
) -> dict[str, Any]:
    """The arguments of a `UNet2DConditionModel` that these tensors fit."""
    levels = _levels(tensors)
    channels = [width for width, _, _ in levels]
    attends = [attention for _, _, attention in levels]
    linear = len(shape_of(tensors, "middle_block.1.proj_in.weight", _WHAT)) == 2
    config = {
        "sample_size": _SINGLE_VIEW_SIZE,
        "in_channels": shape_of(tensors, "input_blocks.0.0.weight", _WHAT)[1],
        "out_channels": shape_of(tensors, "out.2.weight", _WHAT)[0],
        "block_out_channels": channels,
        "layers_per_block": _same([layers for _, layers, _ in levels]),
        "down_block_types": ["CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in attends[::-1]],
        "cross_attention_dim": shape_of(tensors, "middle_block.1.transformer_blocks.0.attn2.to_k.weight", _WHAT)[1],
        "use_linear_projection": linear,
        # diffusers calls it a width, but it is the number of heads.
        "attention_head_dim": [_heads(width, linear) for width in channels],
    }
    if "camera_embed.0.weight" in tensors:
        cameras = tensors["camera_embed.0.weight"].shape[1]
        config |= {"class_embed_type": "projection", "projection_class_embeddings_input_dim": cameras}
        config["sample_size"] = _MULTI_VIEW_SIZE
    return config


def _own_tensors(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tensors = without_prefix(state_dict, PREFIX) or dict(state_dict)
    if not any(name.startswith("input_blocks.") for name in tensors):
        raise UserError(f"there is no UNet in the original layout (no input_blocks.0.0.weight){looks_like(tensors)}.")
    averages = without_prefix(state_dict, "model_ema.diffusion_model")
    # The original code keeps averages under the weights' names without their dots.
    return {name: averages.get(name.replace(".", ""), tensor) for name, tensor in tensors.items()}


def _levels(tensors: Mapping[str, Tensor]) -> list[tuple[int, int, bool]]:
    """Of each resolution: width, residual blocks, whether it has attention. A downsampling ends a level."""
    levels: list[list[Any]] = [[0, 0, False]]
    number = 1
    while any(f"input_blocks.{number}.0.{layer}.weight" in tensors for layer in ("op", "in_layers.2")):
        if f"input_blocks.{number}.0.op.weight" in tensors:
            levels.append([0, 0, False])
        else:
            level = levels[-1]
            level[0] = tensors[f"input_blocks.{number}.0.in_layers.2.weight"].shape[0]
            level[1] += 1
            level[2] |= f"input_blocks.{number}.1.proj_in.weight" in tensors
        number += 1
    return [tuple(level) for level in levels]


def _same(numbers: list[int]) -> int:
    if len(set(numbers)) != 1 or not numbers[0]:
        raise UserError(f"{_WHAT} has {numbers} residual blocks at its resolutions; only equal numbers are supported.")
    return numbers[0]


def _heads(width: int, linear: bool) -> int:
    """Stable Diffusion 2.x (linear projections) has heads of 64 channels, 1.x (convolutions) 8 heads everywhere."""
    if not linear:
        return _SD1_HEADS
    if width % _HEAD_WIDTH and width > _HEAD_WIDTH:
        raise UserError(f"{_WHAT} is {width} channels wide, which does not divide into heads of {_HEAD_WIDTH}.")
    return max(width // _HEAD_WIDTH, 1)


def _renamed(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    camera = {name: tensor for name, tensor in tensors.items() if name.startswith("camera_embed.")}
    others = {PREFIX + name: tensor for name, tensor in tensors.items() if name not in camera}
    plain = {name: value for name, value in config.items() if name != "class_embed_type"}
    renamed = convert_ldm_unet_checkpoint(others, plain)
    for name, tensor in camera.items():
        _, layer, kind = name.split(".")
        renamed[f"class_embedding.linear_{int(layer) // 2 + 1}.{kind}"] = tensor
    # The library passes over names that it does not know, and takes ImageDream's image attention along.
    known = {id(tensor) for tensor in renamed.values()}
    if odd := [name for name, tensor in tensors.items() if id(tensor) not in known or "_ip." in name]:
        raise UserError(f"{_WHAT} has {odd[0]}, which is not supported{looks_like(odd)}.")
    return renamed
