"""Who works in a folder: a lock that the system frees when its holder dies, with the holder's name in it."""

import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dreamdist3d.errors import UserError
from dreamdist3d.files import try_lock

LOCK = ".lock"
_LOOKS, _LOOK_SECONDS = 5, 0.02  # somebody who only looks whether a lock is free holds it for a moment
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # no link; and no waiting, should it be a pipe


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as far as it has said so."""

    pid: int
    host: str

    @property
    def is_here(self) -> bool:
        """On this machine."""
        return self.host == socket.gethostname()

    @property
    def is_stopped(self) -> bool:
        """Whether it is here and has been halted (SIGSTOP, Ctrl-Z)."""
        import psutil

        try:
            return self.is_here and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return False

    def __str__(self) -> str:
        if not self.is_here:
            return f"process {self.pid} on {self.host}"
        if self.is_stopped:
            return f"process {self.pid}, which is halted (`kill -CONT {self.pid}` lets it go on, `kill -9` ends it)"
        return f"process {self.pid}"


class Busy(UserError):
    """Another process works in the folder.

    Attributes:
        holder: who, if it has said so.
    """

    def __init__(self, message: str, holder: Holder | None) -> None:
        super().__init__(message)
        self.holder = holder


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while the work inside runs. Links are not followed and nothing is overwritten.

    Raises:
        Busy: another process holds it.
        UserError: it is no plain file, or cannot be made.
    """
    handle = _opened(path, os.O_RDWR | os.O_CREAT)
    try:
        if not _lock_patiently(handle):
            holder = _read(handle)
            who = f"{holder} is" if holder else "another process is"
            raise Busy(f"{who} at work in {path.parent}; wait for it or choose another tag.", holder)
        _sign(handle)
        yield
    finally:
        os.close(handle)


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock file now, None if nobody does or it is not there.

    Raises:
        UserError: it is no plain file.
    """
    if not path.exists() and not path.is_symlink():
        return None
    handle = _opened(path, os.O_RDONLY)
    try:
        return None if try_lock(handle, shared=True) else _read(handle) or Holder(0, "another machine")
    finally:
        os.close(handle)


def _opened(path: Path, flags: int) -> int:
    try:
        handle = os.open(path, flags | _PLAIN, 0o666)
    except OSError as error:
        raise UserError(f"{path} must be a plain file to be locked ({error.strerror}): remove it.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UserError(f"{path} must be a plain file to be locked: remove it.")
    return handle


def _lock_patiently(handle: int) -> bool:
    for _ in range(_LOOKS):
        try:
            if try_lock(handle):
                return True
        except OSError as error:
            raise UserError(
                f"this file system has no locks ({error.strerror}): choose another output folder."
            ) from error
        time.sleep(_LOOK_SECONDS)
    return False


def _sign(handle: int) -> None:
    """Write who holds the lock; not into a file that is known under another name too."""
    with suppress(OSError):  # a full disk: then the holder stays unnamed
        if os.fstat(handle).st_nlink == 1:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)


def _read(handle: int) -> Holder | None:
    pid, _, host = os.pread(handle, 300, 0).decode(errors="replace").strip().partition(" ")
    return Holder(int(pid), host) if pid.isascii() and pid.isdigit() and len(pid) < 10 and host.isprintable() else None
