"""Distributions on disk: a safetensors file of a few tensors, with string metadata that says its format."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.files import write_bytes

MAX_NUMBERS = 2**26  # of a file: five hundred times what the paper's 32 prompts of 4 tokens take
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


@dataclass(frozen=True, eq=False)
class Stored:
    """What a distribution file holds."""

    path: Path
    format: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]  # without `format`

    def take(self, *keys: str) -> dict[str, str]:
        """Remove these entries of the metadata and return them.

        Raises:
            UserError: one is missing.
        """
        try:
            return {key: self.metadata.pop(key) for key in keys}
        except KeyError as error:
            raise UserError(f"{self.path} lacks the metadata {error}: it is no whole distribution file.") from error

    def require(self, format: str, *names: str) -> "Stored":
        """Itself, if it is of this format and holds exactly these tensors.

        Raises:
            UserError: it is not or does not.
        """
        if self.format != format:
            raise UserError(f"{self.path} is a {self.format} file, not {format}: open it with load_distribution.")
        if sorted(names) != sorted(self.tensors):
            raise UserError(
                f"{self.path} holds {_listed(self.tensors)}, not {_listed(names)}: it is no whole distribution file."
            )
        return self


def write_stored(path: Path, format: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Atomically write tensors and metadata; equal content makes equal bytes."""
    # Cloned, because safetensors refuses tensors that share memory, as one component named twice does.
    plain = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    blob = _in_order(save(plain, {**metadata, "format": format}))
    write_bytes(path, blob)


def read_stored(path: Path) -> Stored:
    """Read any distribution file.

    Raises:
        UserError: missing, a folder, a pickle, truncated, no safetensors, not a distribution, or too large for one.
    """
    if not path.is_file():
        raise UserError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}: name a distribution file.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            # A stranger's file may be gigabytes of weights: look at what it says before reading it.
            names = list(file.keys())
            shapes = [file.get_slice(name).get_shape() for name in names]
            check_size(sum(map(math.prod, shapes)), str(path))
            tensors = {name: file.get_tensor(name) for name in names} if "format" in metadata else {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    format = metadata.pop("format", "")
    if not format.startswith("dreamdist3d-"):
        raise UserError(
            f"{path} holds {_listed(names)} and does not say it is a dreamdist3d distribution: give the file that "
            "`learn` wrote, or `dreamdist3d convert` it."
        )
    return Stored(path, format, tensors, metadata)


def check_size(numbers: int, what: str) -> None:
    """Raise a UserError for more numbers than any distribution has, before memory is taken for them."""
    if numbers > MAX_NUMBERS:
        raise UserError(
            f"{what} holds {numbers:,} numbers, more than the {MAX_NUMBERS:,} that a distribution may have: "
            "give another file."
        )


def as_float32(tensor: Tensor, name: str, dimensions: str) -> Tensor:
    """Detached, contiguous float32 on the CPU.

    Args:
        dimensions: their names, e.g. "prompts, tokens, width".

    Raises:
        UserError: another rank, an empty dimension, too many numbers, or some that are not finite.
    """
    if tensor.ndim != len(dimensions.split(",")) or 0 in tensor.shape:
        raise UserError(f"the tensor {name!r} has the shape {list(tensor.shape)}, not [{dimensions}].")
    check_size(tensor.numel(), f"the tensor {name!r}")
    tensor = tensor.detach().to("cpu", torch.float32).contiguous()
    if not torch.isfinite(tensor).all():
        raise UserError(f"the tensor {name!r} holds numbers that are not finite: learn it again.")
    return tensor


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.strerror:
        return UserError(f"{path} cannot be read: {error.strerror}. Check its permissions.")
    with path.open("rb") as file:
        start = file.read(9)
    # Asked only after safetensors refused: the length at the start of a good file may look like anything.
    if start.startswith((_ZIP, _PICKLE)):
        return UserError(
            f"{path} looks like a pickle (.pt, .bin, .ckpt) and is refused, because loading it could run code: "
            "give the .safetensors file, or `dreamdist3d convert` it."
        )
    # Eight bytes of length, then a JSON header: what begins so and cannot be read was cut or damaged.
    if start[8:] in (b"", b"{"):
        return UserError(f"{path} is truncated or damaged ({error}): copy or learn it again.")
    return UserError(f"{path} is not a safetensors file ({error}): give the file that `learn` wrote.")


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    shown = ", ".join(repr(name) for name in ordered[:4]) or "no tensor"
    return shown + (f" and {len(ordered) - 4} more" if len(ordered) > 4 else "")


def _in_order(blob: bytes) -> bytes:
    """The same safetensors content with a sorted header: the library orders metadata at random."""
    end = 8 + int.from_bytes(blob[:8], "little")
    header = json.dumps(json.loads(blob[8:end]), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + blob[end:]
