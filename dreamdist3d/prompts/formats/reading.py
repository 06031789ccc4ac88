"""Reading the weight files of other programs: plain tensors, checked, and never a line of their code."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.prompts.formats.storage import check_size

_PARAMETER_DICT = "torch.nn.modules.container.ParameterDict"  # in the original textual inversion's files


def existing_file(path: Path) -> Path:
    """`path` itself, if it is a file; else a UserError."""
    if not path.is_file():
        raise UserError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}: name a file to convert.")
    return path


class _Parameters:
    """What is unpickled in place of a module that holds parameters: its state, and none of its code."""


def parameters_of(value: Any) -> Any:
    """The tensors of an unpickled ParameterDict by name; any other value as it is."""
    return value.__dict__.get("_parameters") if isinstance(value, _Parameters) else value


def load_pickle(path: Path) -> Any:
    """What `torch.save` wrote, if it is made of tensors, numbers, text and containers only; see `parameters_of`.

    Raises:
        UserError: missing, truncated, no such file, or one that would have to run code to be read.
    """
    existing_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Checkpoints may hold gigabytes that are not asked for: mapped, they stay on the disk.
            with torch.serialization.safe_globals([(_Parameters, _PARAMETER_DICT)]):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from error
    except Exception as error:  # torch raises many types on a broken file
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and asked:
        return UserError(
            f"{path} is refused: reading it would run code ({asked[1]}). Save it again as plain tensors in a dict."
        )
    return UserError(
        f"{path} cannot be read ({type(error).__name__}): it is truncated, damaged, or nothing that torch.save "
        "makes of plain tensors. Copy or export it again."
    )


def is_plain(value: Any) -> bool:
    """Whether it is a dense tensor of floats: files may also hold sparse, quantised or empty shells of tensors."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.is_floating_point()
        and not (value.is_meta or value.is_quantized)
    )


def checked(
    path: Path,
    key: str,
    value: Any,
    ranks: tuple[int, ...],  # the numbers of dimensions it may have
    layout: str,  # what the dimensions mean, for the message
) -> Tensor:
    """`value` as a float32 tensor of its own on the CPU.

    Raises:
        UserError: no dense tensor of floats, another rank, empty, too large, or not finite; names file and key.
    """
    if not is_plain(value):
        raise UserError(f"{path}: {key!r} is no dense tensor of floats but {_kind(value)}: export it again as one.")
    if value.ndim not in ranks or 0 in value.shape:
        raise UserError(f"{path}: {key!r} has the shape {list(value.shape)}, not {layout}: give another file.")
    check_size(value.numel(), f"{path}: {key!r}")  # a file of a kilobyte may say that a zero is a billion of them
    tensor = value.detach().to(torch.float32, copy=True)
    if not torch.isfinite(tensor).all():
        raise UserError(f"{path}: {key!r} holds numbers that are not finite: its training failed, give another file.")
    return tensor


def _kind(value: Any) -> str:
    return f"{value.layout}, {value.dtype} on {value.device}" if isinstance(value, Tensor) else type(value).__name__


def listed(names: Iterable[Any]) -> str:
    """The first four names, quoted, and how many more there are."""
    found = sorted(map(repr, names))
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "") or "nothing"
