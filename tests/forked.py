"""Commands in forked processes: real ones, to be killed and waited for, without the seconds that imports cost."""

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import psutil

_POLL_SECONDS = 0.01
_MOST_FILES = 4096  # more than a test process ever has open


class Forked:
    """A function in a process of its own, with `subprocess.Popen`'s ways of dealing with it.

    The child shares the modules that are imported here, and what a test has patched in them. Fork only where torch
    works with one thread (conftest.py sees to that): a pool of threads does not survive.

    Args:
        work: returns the exit code, or raises SystemExit.
        out, err: files that what it prints is added to.
        environment: instead of this process's own.
        start_new_session: out of reach of the terminal's signals.
    """

    def __init__(
        self,
        work: Callable[[], object],
        out: Path,
        err: Path,
        environment: Mapping[str, str] | None = None,
        start_new_session: bool = False,
    ) -> None:
        self.returncode: int | None = None
        self._files = (out, err)
        self.pid = os.fork()
        if self.pid == 0:
            _become(work, self._files, environment, start_new_session)

    def poll(self) -> int | None:
        """The exit code, minus the number of the signal that ended it, None while it lives."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout if timeout else None
        while (code := self.poll()) is None:
            if deadline and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked process", timeout)
            time.sleep(_POLL_SECONDS)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed, once it has ended."""
        self.wait(timeout)
        out, err = (file.read_text() for file in self._files)
        return out, err

    def send_signal(self, number: int) -> None:
        """Nothing happens to one that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def script(code: str, out: Path, *arguments: object, environment: Mapping[str, object] = os.environ) -> Forked:
    """Python code as `python -c CODE ARGUMENTS` runs it; what it prints is added to `out`.out and `out`.err."""

    def work() -> None:
        sys.argv = ["-c", *map(str, arguments)]
        exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})

    files = (out.with_name(f"{out.name}.{kind}") for kind in ("out", "err"))
    return Forked(work, *files, {name: str(value) for name, value in environment.items()})


def alive(pid: int, started: float) -> bool:
    """Whether a process that was there at a time is there still and works.

    A dead one that nobody has waited for yet does not, and numbers are given again.
    """
    try:
        process = psutil.Process(pid)
        return process.create_time() < started + 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _become(
    work: Callable[[], object], files: Sequence[Path], environment: Mapping[str, str] | None, new_session: bool
) -> NoReturn:
    """The child's whole life."""
    code: object = 1
    try:
        if new_session:
            os.setsid()
        _streams(files)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        code = work() or 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(_ended(code))


def _ended(code: object) -> int:
    """What Python would exit with after SystemExit(code)."""
    try:
        if not isinstance(code, int):
            print(code, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # such as a full disk
        return 120
    return code if isinstance(code, int) else 1


def _streams(files: Sequence[Path]) -> None:
    """Nothing to read, and what is written goes into files; the parent's own, locks among them, are left behind."""
    os.closerange(3, _MOST_FILES)
    opened = [os.open(os.devnull, os.O_RDONLY)]
    opened += [os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) for file in files]
    for target, source in enumerate(opened):
        os.dup2(source, target)
        os.close(source)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(fd, "w", buffering=1, closefd=False) for fd in (1, 2))
