"""The text tower of an original checkpoint as a transformers CLIP text encoder."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from dreamdist3d.backbones.convert.tensors import count, filled, shape_of, without_prefix

OPEN_CLIP_PREFIX = "cond_stage_model.model."
CLIP_PREFIX = "cond_stage_model.transformer."
_HEAD_WIDTH, _VIT_H_LAYERS = 64, 24
_WHAT = "the text encoder"


def is_open_clip(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether the text tower is OpenCLIP's (Stable Diffusion 2.x) rather than CLIP's (1.x)."""
    return any(key.startswith(OPEN_CLIP_PREFIX) for key in state_dict)


def convert_text_encoder(
    state_dict: Mapping[str, Tensor],
    pad_id: int,
    dtype: torch.dtype = torch.float32,
) -> CLIPTextModel:
    """The `cond_stage_model.` of an original checkpoint as a `CLIPTextModel` in eval mode.

    Stable Diffusion 2.x reads OpenCLIP's last layer but one and then the final layer norm: the last layer is
    left out. 1.x reads CLIP's last layer.

    Args:
        state_dict: the checkpoint's tensors; those with another prefix are ignored.
        pad_id: the tokenizer's padding, for the configuration.
        dtype: of the weights.

    Raises:
        UserError: a tensor is missing or of an unknown layout.
    """
    config, tensors = _open_clip(state_dict) if is_open_clip(state_dict) else _clip(state_dict)
    words = config["vocab_size"]
    # CLIP's vocabulary ends with the marks of beginning and end.
    marks = {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": pad_id}
    with init_empty_weights():
        model = CLIPTextModel(CLIPTextConfig(**config, **marks))
    # transformers 4 keeps a level that transformers 5 dropped.
    prefix = "text_model." if hasattr(model, "text_model") else ""
    tensors = {prefix + name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    return filled(model, tensors, dtype, _WHAT)


def _open_clip(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    tensors = without_prefix(state_dict, OPEN_CLIP_PREFIX)
    shape_of(tensors, "transformer.resblocks.0.mlp.c_fc.weight", _WHAT)
    layers = count(tensors, "transformer.resblocks.{}.")
    # Files exported from diffusers have lost the last of ViT-H's 24 layers already.
    kept = layers if layers == _VIT_H_LAYERS - 1 else layers - 1
    dropped = (f"transformer.resblocks.{kept}.", "text_projection", "visual.")
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(dropped)}
    config = {
        **_sizes(tensors, "token_embedding.weight", "positional_embedding", "transformer.resblocks.0.mlp.c_fc.weight"),
        "num_hidden_layers": kept,
        "hidden_act": "gelu",
    }
    # The library asks a model for its width, by which it cuts the joint q, k, v.
    shell = torch.nn.Module()
    shell.config = CLIPTextConfig(hidden_size=config["hidden_size"])
    return config, convert_open_clip_checkpoint(shell, tensors, prefix="")


def _clip(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    shape_of(state_dict, _clip_name(state_dict, "embeddings.token_embedding.weight"), "the file")
    tensors = {
        name.removeprefix("text_model."): tensor
        for name, tensor in without_prefix(state_dict, CLIP_PREFIX).items()
        if not name.endswith("position_ids")
    }
    embeddings = "embeddings.token_embedding.weight", "embeddings.position_embedding.weight"
    config = {
        **_sizes(tensors, *embeddings, "encoder.layers.0.mlp.fc1.weight"),
        "num_hidden_layers": count(tensors, "encoder.layers.{}."),
        "hidden_act": "quick_gelu",
    }
    return config, tensors


def _clip_name(state_dict: Mapping[str, Tensor], name: str) -> str:
    """Files written with an early transformers lack the `text_model.`."""
    return CLIP_PREFIX + name if CLIP_PREFIX + name in state_dict else f"{CLIP_PREFIX}text_model.{name}"


def _sizes(tensors: Mapping[str, Tensor], tokens: str, positions: str, first: str) -> dict[str, int]:
    vocabulary, width = shape_of(tensors, tokens, _WHAT)
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "projection_dim": width,
        "max_position_embeddings": shape_of(tensors, positions, _WHAT)[0],
        "intermediate_size": shape_of(tensors, first, _WHAT)[0],
        "num_attention_heads": max(width // _HEAD_WIDTH, 1),
    }
