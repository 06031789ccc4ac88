"""Files that outlive a process: written whole or not at all, never outside their folder."""

import hashlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dreamdist3d.errors import UserError, shown

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

_UNFINISHED = ".part"  # in the name of a file that is being written: .model.glb.x1y2z3.part.glb
_NAME_BYTES = 160  # of a name that others are made of by adding to it; file systems take 255
_DEEPEST, _MOST = 64, 1_000_000  # levels and values of a JSON file


def write_atomic(path: Path, write: Callable[[Path], object], is_kept: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`, fsync it, and rename it over `path`.

    A reader sees the old file or the new one, never half of either. What a killed writer of the same file left is
    removed on the way. Without `is_kept` the disk is not waited for: a power cut may undo the file.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(path.parent, path.name)
        with _temporary(path) as temporary:
            write(temporary)
            if is_kept:
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
            # mkstemp makes private files; a result is to be read by whoever the umask allows.
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}. Check the disk and permissions.") from error


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """An empty file, locked for as long as it is written, so that nobody takes it for one that was left behind."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED + path.suffix)
        with suppress(OSError):  # a file system without locks: then nobody removes what is left behind either
            try_lock(handle)
        if os.path.exists(name):  # nobody removed it between the two
            break
        os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(handle)


def remove_unfinished(folder: Path, name: str = "") -> None:
    """Remove temporary files in `folder` (of the file `name`, or of any) whose writers were killed."""
    with os.scandir(folder) as entries:
        found = [e.path for e in entries if e.name.startswith(f".{name}") and _is_unfinished(e.name)]
    for path in found:
        try:
            handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except OSError:  # gone, or not a file
            continue
        try:
            with suppress(OSError):
                if try_lock(handle):  # nobody writes it
                    Path(path).unlink(missing_ok=True)
        finally:
            os.close(handle)


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") and name.removesuffix(Path(name).suffix).endswith(_UNFINISHED)


def try_lock(descriptor: int, shared: bool = False) -> bool:
    """Lock an open file for this process, if nobody else holds it; the system frees it when the file is closed.

    On Windows, which has no flock, everything counts as free.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Atomically write bytes."""
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str, is_kept: bool = True) -> None:
    """Atomically write UTF-8 text."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), is_kept)


def write_json(path: Path, value: Any, is_kept: bool = True) -> None:
    """Atomically write `value` as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n", is_kept)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: missing, unreadable, not JSON, or nested too deeply; the message names the file.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        check_plain(value)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except RecursionError:
        raise UserError(f"{path} cannot be read as JSON: it is nested too deeply. Restore it from a backup.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}. Delete it or restore it from a backup.") from error
    return value


def check_plain(value: Any) -> None:
    """That nested lists and mappings are of a size and depth that anything can be done with.

    Raises:
        ValueError: more than 64 levels, more than a million values, or text that is no Unicode.
    """
    level, count = [value], 0
    for _ in range(_DEEPEST):
        below = []
        for one in level:
            if isinstance(one, str):
                _check_text(one)
            elif isinstance(one, dict):
                below += [*one.keys(), *one.values()]
            elif isinstance(one, list | tuple):
                below += one
            if count + len(below) > _MOST:
                raise ValueError(f"it holds more than {_MOST:,} values")
        count += len(below)
        if not below:
            return
        level = below
    raise ValueError(f"it is nested more than {_DEEPEST} levels deep")


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{shown(text)} is no Unicode text") from None


def ensure_folder(folder: Path) -> Path:
    """Create `folder` and prove that a file can be made in it.

    Raises:
        UserError: a file stands in the way, or permission is missing.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write in {folder}: {error.strerror or error}. Choose another output folder or fix its permissions."
        ) from error
    return folder


def sweep(folder: Path) -> None:
    """Remove what killed writers left anywhere below `folder`, and refuse folders that lead elsewhere.

    Raises:
        UserError: a folder below it is a link: what is written there would land outside.
    """
    for place, children, names in os.walk(folder):
        for child in children:
            path = Path(place, child)
            if path.is_symlink():
                raise UserError(f"{path} is a link to another folder; nothing is written through links: remove it.")
        if any(map(_is_unfinished, names)):
            remove_unfinished(Path(place))


def safe_name(text: str, limit: int = 80) -> str:
    """Turn any text into one path component: letters and digits of any script, `.`, `_`, `-`; never empty or hidden.

    At most `limit` characters, and bytes as file systems count them.
    """
    plain = "".join(char if _is_kept(char) else " " for char in unicodedata.normalize("NFC", text))
    name = re.sub(" +", "-", plain).strip("-.")[:limit]
    return name.encode("utf-8", "ignore")[:_NAME_BYTES].decode("utf-8", "ignore").rstrip("-.") or "unnamed"


def _is_kept(char: str) -> bool:
    return char.isalnum() or char in "._-" or unicodedata.category(char)[0] == "M"  # M: vowel signs and accents


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
