"""The autoencoder of an original checkpoint as a stock diffusers one."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor

from dreamdist3d.backbones.convert.tensors import count, filled, shape_of, without_prefix

PREFIX = "first_stage_model."
_SCALING_FACTOR = 0.18215
_WHAT = "the autoencoder"


def convert_autoencoder(
    state_dict: Mapping[str, Tensor],
    dtype: torch.dtype = torch.float32,
) -> AutoencoderKL:
    """The `first_stage_model.` of an original checkpoint as an `AutoencoderKL` in eval mode.

    Args:
        state_dict: the checkpoint's tensors; those with another prefix are ignored.
        dtype: of the weights.

    Raises:
        UserError: a tensor is missing or of an unknown layout.
    """
    shape_of(state_dict, f"{PREFIX}encoder.conv_in.weight", "the file")
    tensors = without_prefix(state_dict, PREFIX)
    config = autoencoder_config(tensors)
    renamed = convert_ldm_vae_checkpoint({PREFIX + name: tensor for name, tensor in tensors.items()}, config)
    with init_empty_weights():
        vae = AutoencoderKL(**config)
    return filled(vae, renamed, dtype, _WHAT)


def autoencoder_config(
    tensors: Mapping[str, Tensor],  # without prefix
) -> dict[str, Any]:
    """The arguments of an `AutoencoderKL` that these tensors fit."""
    levels = count(tensors, "encoder.down.{}.")
    channels = [shape_of(tensors, f"encoder.down.{level}.block.0.conv1.weight", _WHAT)[0] for level in range(levels)]
    return {
        "in_channels": shape_of(tensors, "encoder.conv_in.weight", _WHAT)[1],
        "out_channels": shape_of(tensors, "decoder.conv_out.weight", _WHAT)[0],
        "latent_channels": shape_of(tensors, "decoder.conv_in.weight", _WHAT)[1],
        "block_out_channels": channels,
        "layers_per_block": count(tensors, "encoder.down.0.block.{}."),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "scaling_factor": _SCALING_FACTOR,
    }
