"""A prompt distribution on disk: one safetensors file with the tensor `tokens` and string metadata.

Metadata: `format`, `covariance`, `encoder_fingerprint`, `prefix`, `suffix`, and any facts about the training.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.files import write_atomic

FORMAT = "dreamdist3d-distribution-1"
TENSOR = "tokens"
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def write_tokens(path: Path, tokens: Tensor, metadata: Mapping[str, str]) -> None:
    """Atomically write [K, M, d] tokens; equal content makes equal bytes."""
    blob = _in_order(save({TENSOR: tokens.contiguous()}, {**metadata, "format": FORMAT}))
    write_atomic(path, lambda temporary: temporary.write_bytes(blob))


def read_tokens(path: Path) -> tuple[Tensor, dict[str, str]]:
    """The tokens, of any shape, and the metadata without `format`.

    Raises:
        UserError: missing, a folder, a pickle, truncated, no safetensors, or not a distribution.
    """
    if not path.is_file():
        raise UserError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}: name a distribution file.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata, names = dict(file.metadata() or {}), list(file.keys())
            tokens = file.get_tensor(TENSOR) if names == [TENSOR] else None
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    if tokens is None:
        raise UserError(f"{path} holds {_listed(names)}, not one tensor called {TENSOR!r}: it is no distribution file.")
    if metadata.pop("format", None) != FORMAT:
        raise UserError(f"{path} does not say it is a {FORMAT} file: learn it anew with this version.")
    return tokens, metadata


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.strerror:
        return UserError(f"{path} cannot be read: {error.strerror}. Check its permissions.")
    with path.open("rb") as file:
        start = file.read(9)
    # Asked only after safetensors refused: the length at the start of a good file may look like anything.
    if start.startswith((_ZIP, _PICKLE)):
        return UserError(
            f"{path} looks like a pickle (.pt, .bin, .ckpt) and is refused, because loading it could run code: "
            "give the .safetensors file."
        )
    # Eight bytes of length, then a JSON header: what begins so and cannot be read was cut or damaged.
    if start[8:] in (b"", b"{"):
        return UserError(f"{path} is truncated or damaged ({error}): copy or learn it again.")
    return UserError(f"{path} is not a safetensors file ({error}): give the file that `learn` wrote.")


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:4]) or "no tensor"
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _in_order(blob: bytes) -> bytes:
    """The same safetensors content with a sorted header: the library orders metadata at random."""
    end = 8 + int.from_bytes(blob[:8], "little")
    header = json.dumps(json.loads(blob[8:end]), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + blob[end:]


def as_float32(tokens: Tensor) -> Tensor:
    """Detached, contiguous float32 [K, M, d] on the CPU.

    Raises:
        UserError: another rank, an empty dimension, or numbers that are not finite.
    """
    if tokens.ndim != 3 or 0 in tokens.shape:
        raise UserError(f"the tensor {TENSOR!r} has the shape {list(tokens.shape)}, not [prompts, tokens, width].")
    tokens = tokens.detach().to("cpu", torch.float32).contiguous()
    if not torch.isfinite(tokens).all():
        raise UserError(f"the tensor {TENSOR!r} holds numbers that are not finite: learn it again.")
    return tokens
