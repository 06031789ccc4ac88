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

import torch

from dreamdist3d.config import RunConfig
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import ensure_folder, safe_name
from dreamdist3d.prompts.batches import Batching
from dreamdist3d.runs.locks import Busy
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import PLAN_NAME, BatchPlan, agree, plan_batch
from dreamdist3d.runs.prepare import resolve_device
from dreamdist3d.runs.progress import shown_progress
from dreamdist3d.runs.trial import Trial
from dreamdist3d.runs.worker import is_open
from dreamdist3d.stopping import StopSignal

_POLL_SECONDS, _ORPHAN_SECONDS = 0.2, 2.0
_LITTLE_SPACE, _TAIL = 2**20, 2**12  # bytes
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_USERS_MISTAKE = UserError.exit_code


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is worked off; none of it changes what is made.

    Attributes:
        workers: processes; 0 is one for each GPU, or for each CPU core where there is none.
        together: runs that a worker lifts in step.
        retries: how often a failed run is begun again.
    """

    workers: int = 0
    together: int = 1
    retries: int = 2


def open_batch(folder: Path, config: RunConfig, count: int, draws: Batching) -> BatchPlan:
    """The plan in `folder`, made now if there is none yet.

    Raises:
        UserError: the folder was planned for something else, or nothing can be planned.
    """
    if folder.name != safe_name(folder.name):
        raise UserError(f"--out {folder} must end in a plain name, such as {safe_name(folder.name)}.")
    resolve_device(config.system.device)
    if (folder / PLAN_NAME).exists():
        plan = BatchPlan.load(folder)
        agree(plan, config, count, draws, folder)
        return plan
    return plan_batch(config, count, draws)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep every other batch out of the folder.

    Raises:
        UserError: another batch is at work there.
    """
    try:
        with Trial(folder).locked():
            yield
    except Busy:
        raise UserError(f"another batch is at work in {folder}; see it by: dreamdist3d status {folder}") from None


def work_off(folder: Path, plan: BatchPlan, options: BatchOptions) -> None:
    """Do all open runs of a batch whose folder is `held`, in processes on this machine.

    Raises:
        UserError: runs that failed, each with its reason; or what stopped every worker.
        Stopped: Ctrl-C or SIGTERM, after every worker has kept a checkpoint.
    """
    reopen(folder, plan)
    _Workers(folder, plan, options).work_off()
    tell_failures(folder, plan)


def reopen(folder: Path, plan: BatchPlan) -> None:
    """Give every unfinished run its attempts again; what a killed worker left as running is pending."""
    for run in plan.runs:
        with _unfinished(Trial(folder / run.name)) as manifest:
            if manifest is not None:
                manifest.state, manifest.attempts = "pending", 0


@contextmanager
def _unfinished(trial: Trial) -> Iterator[Manifest | None]:
    """The record of a run that is not done, to be changed; None for one that is, or that somebody works at."""
    manifest = trial.manifest()
    if manifest is None or manifest.state == "done":
        yield None
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(trial.locked())
        except Busy:  # a worker of a killed batch that is about to stop
            yield None
            return
        yield manifest
        manifest.save(trial.manifest_path)


def tell_failures(folder: Path, plan: BatchPlan) -> None:
    """Raise a UserError that names the runs that are not done, if there are any."""
    for run in plan.runs:
        with _unfinished(Trial(folder / run.name)) as manifest:
            if manifest is not None and manifest.state == "running":
                manifest.end(UserError(f"its worker died, {manifest.attempts} times"))
    manifests = {run.name: Trial(folder / run.name).manifest() for run in plan.runs}
    failed = {name: found.error or found.state for name, found in manifests.items() if found.state != "done"}
    if failed:
        name, reason = next(iter(failed.items()))
        others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise UserError(
            f"{len(plan.runs) - len(failed)} of {len(plan.runs)} runs are done; {name}{others} failed: {reason} "
            f"(logs in {folder / 'logs'}; the same command tries again)"
        )


class _Workers:
    """Worker processes, replaced as they die while there is work."""

    def __init__(self, folder: Path, plan: BatchPlan, options: BatchOptions) -> None:
        self.folder, self.plan, self.options = folder, plan, options
        self.count = min(options.workers or default_workers(plan.run_config()), len(plan.runs))
        self._alive: dict[int, subprocess.Popen] = {}
        self._idle: set[int] = set()  # places whose worker found nothing to take

    def work_off(self) -> None:
        with StopSignal() as stop, shown_progress(self.folder, self.plan) as refresh:
            try:
                while self._open() or self._alive:
                    if stop.requested:
                        self._stop()
                        raise Stopped("stopped; every run kept its last checkpoint, and the same command goes on.")
                    self._start()
                    self._reap()
                    refresh()
                    time.sleep(_POLL_SECONDS)
            finally:
                self._kill()

    def _open(self) -> bool:
        return any(is_open(Trial(self.folder / run.name), self.options.retries) for run in self.plan.runs)

    def _start(self) -> None:
        """Fill every empty place while runs are open."""
        if not self._alive and len(self._idle) == self.count:  # workers of a killed batch still hold the rest
            time.sleep(_ORPHAN_SECONDS)
            self._idle.clear()
        for place in range(self.count):
            if place not in self._alive and place not in self._idle and self._open():
                self._alive[place] = self._spawn(place)

    def _spawn(self, place: int) -> subprocess.Popen:
        settings = ["--retries", str(self.options.retries), "--together", str(self.options.together)]
        command = [sys.executable, "-m", "dreamdist3d.runs.worker", str(self.folder), *settings]
        with self._log(place).open("a") as log:
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
