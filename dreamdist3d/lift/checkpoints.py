"""A lift's checkpoints: the last one, and the one before it in case a crash or a bad disk spoils the last."""

import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.errors import UserError, is_out_of_memory
from dreamdist3d.files import write_bytes

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class DamagedCheckpoint(UserError):
    """A file that is no whole checkpoint; one of another configuration is none."""


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write tensors and numbers to `path`; what stood there becomes `previous.ckpt` beside it.

    Raises:
        UserError: the folder cannot be written, or the disk is full; the old file stays.
    """
    content = io.BytesIO()  # torch's own writer hides a full disk behind another kind of error
    torch.save(state, content)
    fresh = path.with_name("next.ckpt")
    write_bytes(fresh, content.getbuffer())
    try:
        if path.is_file():
            os.replace(path, path.with_name(PREVIOUS))
        os.replace(fresh, path)
    except OSError as error:  # a folder of that name, most likely
        raise UserError(f"cannot write {path}: {error.strerror}. Remove what is in its place.") from error


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `write_checkpoint` wrote; never unpickles anything but tensors and numbers.

    Raises:
        UserError: missing.
        DamagedCheckpoint: not a whole checkpoint, or one with numbers that are not finite.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums it writes
            spoilt = archive.testzip()
        if spoilt:
            raise ValueError(f"checksum of {spoilt}")
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"checkpoint {path} does not exist; check resume=.") from None
    except Exception as error:  # torch.load raises many kinds on damaged files
        if is_out_of_memory(error):  # a sound file must not be taken for a damaged one, which is begun again
            raise
        line = " ".join(str(error).split())[:200]
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {line}") from error
    if not isinstance(state, dict) or not {"step", "seed", "field", "occupancy", "optimizer"} <= state.keys():
        raise DamagedCheckpoint(f"checkpoint {path} is damaged, or none of a lift: it lacks the field or its step.")
    if any(t.numel() * t.element_size() > t.untyped_storage().nbytes() for t in _tensors(state)):
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: it says that it holds more than it does.")
    if not all_finite(_tensors(state)):
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: it holds numbers that are not finite.")
    return state


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all their numbers are finite; asked without a mask as large as they are, and of the device once."""
    extremes = [torch.stack(t.aminmax()).cpu() for t in tensors if t.is_floating_point() and t.numel()]
    return all(bool(torch.isfinite(pair).all()) for pair in extremes)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def last_readable(path: Path) -> Path | None:
    """`path`, or `previous.ckpt` beside it where `path` is missing or damaged; None when neither can be read."""
    for candidate in (path, path.with_name(PREVIOUS)):
        try:
            read_checkpoint(candidate)
        except UserError:
            continue
        return candidate
    return None
