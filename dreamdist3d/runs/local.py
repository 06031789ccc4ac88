"""Several runs side by side on this machine, each in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import ensure_folder
from dreamdist3d.stopping import StopSignal

_POLL_SECONDS = 0.1
_NOTE_LENGTH = 60
# One thread each: as many processes as cores lose less to one another than one process with as many threads.
_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Job:
    """A command with a name to show; everything it prints goes to `log`."""

    name: str
    command: Sequence[str]
    log: Path


def launch_job(name: str, config: str, overrides: Sequence[str], log: Path) -> Job:
    """A job that does one run as `dreamdist3d launch --config CONFIG key=value ...` does."""
    return Job(name, [sys.executable, "-m", "dreamdist3d", "launch", "--config", config, *overrides], log)


def run_jobs(jobs: Sequence[Job], at_once: int) -> None:
    """Do all jobs, at most `at_once` at a time; one that fails leaves the others alone.

    Ctrl-C or SIGTERM reaches every running job as SIGTERM, and is waited for; a second one kills them.

    Raises:
        UserError: jobs that failed, each with its log file and the last line in it.
        Stopped: all running jobs were stopped.
    """
    waiting, running, failed = list(jobs), [], []
    with StopSignal() as stop, _display() as progress, _leave_none(running):
        while running or (waiting and not stop.requested):
            while waiting and len(running) < at_once and not stop.requested:
                running.append(_Running(waiting.pop(0), progress))
            if stop.requested:
                for one in running:
                    one.stop()
            for one in [one for one in running if one.ended()]:
                running.remove(one)
                failed += [one.job] if one.process.returncode else []
            time.sleep(_POLL_SECONDS)
    if stop.requested:
        raise Stopped("stopped; every run kept its last checkpoint, and the same command goes on from there.")
    if failed:
        raise UserError(
            "; ".join(f"{job.name} failed: {last_line(job.log) or 'no output'} (see {job.log})" for job in failed)
        )


class _Running:
    """A started job and its line on the screen."""

    def __init__(self, job: Job, progress: Progress) -> None:
        ensure_folder(job.log.parent)
        self.job, self._progress, self._asked_to_stop = job, progress, False
        with job.log.open("w") as log:
            # In a session of its own, so that the terminal's Ctrl-C comes through us and only once.
            self.process = subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_THREADS},
                start_new_session=True,
            )
        self._task = progress.add_task(job.name, total=1, note="")

    def ended(self) -> bool:
        """Whether the process is over; refreshes the line."""
        code = self.process.poll()
        note = last_line(self.job.log)[:_NOTE_LENGTH] if code is None else "done" if code == 0 else f"failed ({code})"
        self._progress.update(self._task, note=note, completed=int(code is not None))
        return code is not None

    def stop(self) -> None:
        """Ask once; a second SIGTERM would kill it in the middle of its checkpoint."""
        if not self._asked_to_stop:
            self._asked_to_stop = True
            self.process.terminate()


def last_line(log: Path) -> str:
    """The last line of a log that is not blank; its tail alone is read."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


@contextmanager
def _leave_none(running: list[_Running]) -> Iterator[None]:
    try:
        yield
    finally:
        for one in running:
            one.process.kill()
            one.process.wait()


def _display() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=Console(stderr=True))
