"""Many runs of one configuration: planned once, worked off by processes, resumed by the same command."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from dreamdist3d.choices import Batching
from dreamdist3d.config import RunConfig
from dreamdist3d.errors import Stopped, UserError, shown
from dreamdist3d.files import ensure_folder, safe_name
from dreamdist3d.runs.locks import LOCK, Busy, Holder, holder_of
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import PLAN_NAME, BatchPlan, agree, plan_batch
from dreamdist3d.runs.prepare import resolve_device
from dreamdist3d.runs.progress import shown_progress
from dreamdist3d.runs.records import Records, is_open, sound_record
from dreamdist3d.runs.trial import Trial
from dreamdist3d.stopping import StopSignal

_POLL_SECONDS = 0.2
_LEAVING_SECONDS = 10.0  # a killed batch may take so long to be gone
_LITTLE_SPACE, _TAIL = 2**20, 2**12  # bytes
_MOST_WORKERS = 1024
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_USERS_MISTAKE = UserError.exit_code


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is worked off; none of it changes what is made.

    Attributes:
        workers: processes; 0 is one for each GPU, or for each CPU core where there is none.
        together: runs that a worker lifts in step.
        retries: how often a failed run is begun again.

    Raises:
        UserError: a number that no batch can be worked off with; names the option.
    """

    workers: int = 0
    together: int = 1
    retries: int = 2

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--workers", self.workers, 0),
            ("--assets-per-worker", self.together, 1),
            ("--retries", self.retries, 0),
        ):
            if not least <= value <= _MOST_WORKERS:
                raise UserError(f"{option} is {shown(value)}; it must be between {least} and {_MOST_WORKERS}.")


def planned(folder: Path, config: RunConfig, count: int, draws: Batching) -> BatchPlan:
    """The plan in `folder`, or the one that would be made there; nothing is written.

    Raises:
        UserError: the folder was planned for something else, or nothing can be planned.
    """
    if folder.name != safe_name(folder.name):
        raise UserError(f"--out must end in a plain name, such as {safe_name(folder.name)}.")
    resolve_device(config.system.device)
    if (folder / PLAN_NAME).exists():
        plan = BatchPlan.load(folder)
        agree(plan, config, count, draws, folder)
        return plan
    return plan_batch(config, count, draws)


@contextmanager
def open_batch(folder: Path, config: RunConfig, count: int, draws: Batching) -> Iterator[BatchPlan]:
    """The plan in `folder`, made and written now if there is none yet; every other batch is kept out meanwhile.

    Raises:
        UserError: another batch is at work there, or as `planned`.
    """
    if not (folder / PLAN_NAME).exists():
        planned(folder, config, count, draws)  # what cannot be planned leaves no folder
    with _held(folder):
        plan = planned(folder, config, count, draws)
        plan.save(folder)
        yield plan


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep every other batch out; one that was killed a moment ago is given the time to be gone."""
    give_up = time.monotonic() + _LEAVING_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(Trial(folder).locked())
                break
            except Busy as busy:
                if time.monotonic() >= give_up:
                    who = f" ({busy.holder})" if busy.holder else ""
                    raise UserError(
                        f"another batch is at work in {folder}{who}; see it by: dreamdist3d status {folder}"
                    ) from None
                time.sleep(_POLL_SECONDS)
        yield


def work_off(folder: Path, plan: BatchPlan, options: BatchOptions) -> None:
    """Do all open runs of an open batch, in processes on this machine.

    Raises:
        UserError: runs that failed, each with its reason; or what stopped every worker.
        Stopped: Ctrl-C or SIGTERM, after every worker has kept a checkpoint.
    """
    reopen(folder, plan)
    _Workers(folder, plan, options).work_off()
    tell_failures(folder, plan)


def reopen(folder: Path, plan: BatchPlan) -> None:
    """Give every unfinished run its attempts again; what a killed worker left as running is pending.

    A run whose record is gone or damaged gets the planned one, and a finished run that lacks one of its files is not
    finished.
    """
    records = Records(folder)
    for run in plan.runs:
        trial, record = Trial(folder / run.name), records.of(run.name)
        if isinstance(record, Manifest) and record.state == "done":
            if (lacking := trial.lacks(record)) is None:
                continue
            print(f"{trial.folder / lacking} is gone or cut off, and is made again.", file=sys.stderr)
        try:
            with trial.locked():
                manifest = sound_record(trial, plan.pending(folder, run))
                if manifest.state == "done" and trial.lacks(manifest) is None:  # since the look, by a worker left over
                    continue
                if (manifest.state, manifest.attempts) != ("pending", 0):
                    manifest.state, manifest.attempts = "pending", 0
                    manifest.save(trial.manifest_path)
        except UserError:  # a worker of a killed batch is about to stop there, or the folder is refused: see the worker
            continue


def tell_failures(folder: Path, plan: BatchPlan) -> None:
    """Raise a UserError that names the runs that are not done, if there are any."""
    records, failed = Records(folder), {}
    for run in plan.runs:
        record = records.of(run.name)
        if isinstance(record, Manifest) and record.state == "running":
            record = _died(Trial(folder / run.name), record)
        if record is None:
            failed[run.name] = "its folder was removed"
        elif isinstance(record, UserError):
            failed[run.name] = str(record)
        elif record.state != "done":
            failed[run.name] = record.error or record.state
    if failed:
        name, reason = next(iter(failed.items()))
        others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise UserError(
            f"{len(plan.runs) - len(failed)} of {len(plan.runs)} runs are done; {name}{others} failed: {reason} "
            f"(logs in {folder / 'logs'}; the same command tries again)"
        )


def _died(trial: Trial, record: Manifest) -> Manifest:
    """The record of a run whose worker ended without a word."""
    try:
        with trial.locked():
            record.end(UserError(f"its worker died, {record.attempts} times"))
            record.save(trial.manifest_path)
    except UserError:  # somebody is at work there
        pass
    return record


class _Workers:
    """Worker processes, replaced as they die while there is work."""

    def __init__(self, folder: Path, plan: BatchPlan, options: BatchOptions) -> None:
        self.folder, self.plan, self.options = folder, plan, options
        self.count = min(options.workers or default_workers(plan.run_config), len(plan.runs))
        self._records = Records(folder)
        self._alive: dict[int, subprocess.Popen] = {}
        self._idle: set[int] = set()  # places whose worker found nothing to take
        self._waited_for: set[Holder] = set()
        # A run's attempts count its own deaths; more than those are deaths of workers that never came to take one.
        self._deaths, self._most_deaths = 0, (options.retries + 2) * len(plan.runs) + self.count

    def work_off(self) -> None:
        with StopSignal() as stop, shown_progress(self.folder, self.plan, self._records) as refresh:
            try:
                while self._open() or self._alive:
                    if stop.requested:
                        self._stop()
                        raise Stopped("stopped; every run kept its last checkpoint, and the same command goes on.")
                    self._check_plan()
                    self._start()
                    self._reap()
                    refresh()
                    time.sleep(_POLL_SECONDS)
            finally:
                self._kill()

    def _open(self) -> list[str]:
        """Runs that are still to be done, at work or not."""
        return [run.name for run in self.plan.runs if is_open(self._records.of(run.name), self.options.retries)]

    def _check_plan(self) -> None:
        if not (self.folder / PLAN_NAME).exists():
            self._stop()
            raise UserError(f"{self.folder / PLAN_NAME} was removed while the batch was at work; the batch ends.")

    def _start(self) -> None:
        """Fill every empty place while there are runs that nobody works at."""
        empty = [place for place in range(self.count) if place not in self._alive]
        if not empty or (self._alive and self._idle.issuperset(empty)):
            return
        holders = {name: self._holder(name) for name in self._open()}
        if not self._alive:
            self._idle.clear()
            if holders and all(holders.values()):
                self._tell_waiting(holders)
        if not all(holders.values()):
            for place in sorted(set(empty) - self._idle):
                self._alive[place] = self._spawn(place)

    def _holder(self, name: str) -> Holder | None:
        try:
            return holder_of(self.folder / name / LOCK)
        except UserError:  # nothing to lock; the worker that tries tells it
            return None

    def _tell_waiting(self, holders: dict[str, Holder | None]) -> None:
        """Workers of a killed batch hold all that is left; they stop by themselves unless they are halted."""
        for name, holder in holders.items():
            if holder is not None and holder not in self._waited_for:
                self._waited_for.add(holder)
                print(f"waiting for {holder}, which is still at work in {self.folder / name}", file=sys.stderr)

    def _spawn(self, place: int) -> subprocess.Popen:
        settings = ["--retries", str(self.options.retries), "--together", str(self.options.together)]
        command = [sys.executable, "-m", "dreamdist3d.runs.worker", str(self.folder), *settings]
        with appended(self._log(place)) as log:
            # In a session of its own, so that the terminal's Ctrl-C comes through us and only once.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment(place, self.count)},
                start_new_session=True,
            )

    def _reap(self) -> None:
        """Forget those that ended; one that met what stops every worker ends the batch."""
        for place, process in list(self._alive.items()):
            code = process.poll()
            if code is None:
                continue
            del self._alive[place]
            if code > 0 and code != Stopped.exit_code:
                self._stop()
                raise self._broken(place, code)
            if code == 0:
                self._idle.add(place)
            else:  # killed: what it worked at can be taken again
                self._idle.clear()
                self._deaths += 1
                if self._deaths > self._most_deaths:
                    self._stop()
                    raise UserError(
                        f"workers were killed {self._deaths} times; see {self._log(place)}. Less memory: --workers 1."
                    )

    def _broken(self, place: int, code: int) -> UserError:
        """What a worker that no run can be done with has met."""
        if shutil.disk_usage(self.folder).free < _LITTLE_SPACE:  # then its log may be cut off, too
            return UserError(f"no space left on the disk of {self.folder}; make room and repeat the command.")
        line = last_line(self._log(place)).removeprefix("error: ")
        return UserError(line if code == _USERS_MISTAKE else f"a worker broke: {line} (see {self._log(place)})")

    def _stop(self) -> None:
        """Ask all to stop at their next checkpoint, and wait for them."""
        for process in self._alive.values():
            process.terminate()
        for process in self._alive.values():
            process.wait()
        self._alive.clear()

    def _kill(self) -> None:
        for process in self._alive.values():
            process.kill()
            process.wait()

    def _log(self, place: int) -> Path:
        return ensure_folder(self.folder / "logs") / f"worker-{place}.log"


def appended(log: Path) -> IO[str]:
    """A log opened at its end, unless it is a link to somebody's file.

    Raises:
        UserError: it is, or cannot be written.
    """
    no_link = getattr(os, "O_NOFOLLOW", 0)
    try:
        return open(log, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags | no_link, 0o666))
    except OSError as error:
        raise UserError(f"{log} must be a plain file that can be written ({error.strerror}): remove it.") from error


def last_line(log: Path) -> str:
    """The last line of a log that is not blank; its tail alone is read."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def default_workers(config: RunConfig) -> int:
    """One for each GPU; on the CPU one for each core, since as many processes lose less than as many threads."""
    if resolve_device(config.system.device) == "cuda":
        return torch.cuda.device_count()
    return os.cpu_count() or 1


def environment(place: int, workers: int) -> dict[str, str]:
    """What a worker sees of the machine: one GPU, and its share of the cores."""
    gpus = visible_gpus()
    threads = _ONE_THREAD if workers > 1 and not gpus else {}
    return threads | ({"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if gpus else {})


def visible_gpus() -> Sequence[str]:
    """As CUDA_VISIBLE_DEVICES names them."""
    if not torch.cuda.is_available():
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
