"""Is a weight file the one that was published? Gigabytes are hashed once, and the answer is remembered."""

import re
from contextlib import suppress
from pathlib import Path

from dreamdist3d.errors import UserError
from dreamdist3d.files import read_json, sha256_of, write_json

_SHA256 = re.compile(r"[0-9a-f]{64}")


def expected_sha256(path: Path, published: str | None) -> str | None:
    """The published hash, else the one the hub gave: its cache names the blob of a large file by its SHA-256."""
    blob = path.resolve().name
    return published or (blob if _SHA256.fullmatch(blob) else None)


def is_verified(path: Path, published: str | None) -> bool | None:
    """Whether a file's content has the hash it should have; None when no hash is known."""
    expected = expected_sha256(path, published)
    return None if expected is None else remembered_sha256(path) == expected


def remembered_sha256(path: Path) -> str:
    """Hex SHA-256 of a file, from memory while its size and time of change are the same."""
    blob = path.resolve()
    stat = blob.stat()
    state = [stat.st_size, stat.st_mtime_ns]
    memory = _memory()
    known = memory.get(str(blob))
    if isinstance(known, list) and known[:2] == state and len(known) == 3:
        return known[2]
    sha256 = sha256_of(blob)
    # A read-only cache only costs the time of hashing again.
    with suppress(UserError):
        write_json(_memory_file(), {**memory, str(blob): [*state, sha256]})
    return sha256


def _memory() -> dict[str, list]:
    try:
        memory = read_json(_memory_file())
    except UserError:
        return {}
    return memory if isinstance(memory, dict) else {}


def _memory_file() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "dreamdist3d-sha256.json"
