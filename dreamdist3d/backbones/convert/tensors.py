"""Tensors by name: read from a file without running anything in it, taken from, and put into a model."""

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dreamdist3d.errors import UserError, is_out_of_memory

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")

# What a file is that is not what was hoped for, by a piece of a key that only that kind has; the first match counts.
_KINDS = {
    "lora": "a LoRA, which is an addition to a model and not a model",
    "control_model.": "a ControlNet",
    "image_embed.": "ImageDream, whose image condition is not supported",
    "to_k_ip": "ImageDream, whose image condition is not supported",
    "conditioner.embedders.": "SDXL, which is not supported",
    "label_emb.": "an SDXL or unCLIP UNet, which is not supported",
    "joint_blocks.": "Stable Diffusion 3, which is not supported",
    "double_blocks.": "Flux, which is not supported",
    "down_blocks.": "one part of a diffusers folder; give the folder instead",
    "input_blocks.": "the UNet alone of a Stable Diffusion checkpoint",
    "decoder.up.": "an autoencoder (VAE) alone",
    "text_model.": "a CLIP text encoder alone",
    "resblocks.": "an OpenCLIP text encoder alone",
}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .ckpt, .pt, .pth or .bin file, memory-mapped where its format allows.

    Raises:
        UserError: missing, damaged, or a pickle that holds more than tensors.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file: give a checkpoint ({', '.join(SUFFIXES)}).")
    try:
        content = _load(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged or holds Python objects beside its tensors, which could run code and are not loaded: "
            "use the .safetensors version of it."
        ) from error
    except Exception as error:  # torch and safetensors raise many kinds on damaged files
        if is_out_of_memory(error):  # nothing is wrong with the file
            raise
        raise UserError(f"{path} cannot be read: {_one_line(error)} Download it again.") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)} if content else {}
    if not tensors:
        raise UserError(f"{path} holds no tensors: it is not a checkpoint.")
    return tensors


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under `prefix`, by the rest of their names."""
    return {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def shape_of(tensors: Mapping[str, Tensor], key: str, what: str) -> torch.Size:
    """The shape of `tensors[key]`.

    Raises:
        UserError: there is no such key.
    """
    if key not in tensors:
        raise UserError(f"{what} lacks {key}: the file is cut short or of another kind of model.")
    return tensors[key].shape


def looks_like(keys: Iterable[str]) -> str:
    """ ": this seems to be ...", or nothing where the keys say nothing."""
    names = list(keys)
    for piece, kind in _KINDS.items():
        if any(piece in name for name in names):
            return f": this seems to be {kind}"
    return ""


def count(tensors: Mapping[str, Tensor], form: str) -> int:
    """How many of `form` with 0, 1, ... in place of `{}` are the beginning of a name."""
    number = 0
    while any(key.startswith(form.format(number)) for key in tensors):
        number += 1
    return number


def filled(model: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype, what: str) -> nn.Module:
    """Put `tensors` into a `model` made without weights; those that have `dtype` already are not copied.

    Raises:
        UserError: a weight is missing, has another shape, or is not the model's.
    """
    expected = model.state_dict()
    for name, weight in expected.items():
        if shape_of(tensors, name, what) != weight.shape:
            raise UserError(f"{what}: {name} is {list(tensors[name].shape)}, expected {list(weight.shape)}.")
    if extra := [name for name in tensors if name not in expected]:
        raise UserError(f"{what} has {extra[0]}, which Stable Diffusion has not: it is another kind of model.")
    model.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True)
    return model.eval()


def _load(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    # Files of torch < 1.6 are no zip archives and cannot be mapped.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") + "."
