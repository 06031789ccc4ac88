"""A worker of a batch: takes runs that nobody works at, one or several in step, until none is left.

Started as `python -m dreamdist3d.runs.worker FOLDER`. Workers know one another only through the folder: a run is
taken by its lock, which the system frees when a worker dies.
"""

import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from dreamdist3d.errors import Stopped, UserError, is_out_of_memory, one_line
from dreamdist3d.runs.engines import Models, Ready, open_models, prepare, walk
from dreamdist3d.runs.locks import Busy
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import BatchPlan, PlannedRun
from dreamdist3d.runs.records import Records, is_open, sound_record
from dreamdist3d.runs.trial import Trial
from dreamdist3d.stopping import StopSignal

_ORPHAN_SECONDS = 1.0
_NO_ROOM = (
    "out of memory while the diffusion model was loaded; try fewer --workers, system.low_vram=true, or a smaller model."
)


@dataclass
class Worker:
    """Works off a batch in this process; the models stay loaded from run to run.

    Args:
        folder: of the batch.
        retries: how often a run that failed, or died with its worker, is begun again.
        together: runs lifted in step.
    """

    folder: Path
    retries: int = 2
    together: int = 1

    def __post_init__(self) -> None:
        self.plan = BatchPlan.load(self.folder)
        self._records = Records(self.folder)
        self._models: Models | None = None

    def work_off(self, only: Sequence[str] | None = None) -> None:
        """Take runs until none is open; of those named `only`, if given.

        Raises:
            Stopped: SIGTERM or Ctrl-C.
            UserError: something that no run could be done with, such as missing weights.
        """
        with StopSignal() as self._stop:
            while True:
                if self._stop.requested:
                    raise Stopped("stopped between two runs.")
                with self._claimed(only) as runs:
                    if not runs:
                        return
                    self._do(runs)
                _free_memory()

    @contextmanager
    def _claimed(self, only: Sequence[str] | None) -> Iterator[list[PlannedRun]]:
        """Up to `together` open runs, locked; attempts are counted before anything can go wrong."""
        with ExitStack() as stack:
            taken: list[PlannedRun] = []
            for run in self.plan.runs:
                if len(taken) == self.together:
                    break
                if (only is None or run.name in only) and self._take(run, stack):
                    taken.append(run)
            yield taken

    def _take(self, run: PlannedRun, stack: ExitStack) -> bool:
        if not is_open(self._records.of(run.name), self.retries):
            return False
        trial = Trial(self.folder / run.name)
        with ExitStack() as attempt:
            try:
                attempt.enter_context(trial.locked())
                manifest = sound_record(trial, self.plan.pending(self.folder, run))
            except Busy:
                return False
            except UserError as error:  # a folder that cannot be worked in
                self._fail(run, error, for_good=True)
                return False
            if not is_open(manifest, self.retries):  # done by another worker between the look and the lock
                return False
            manifest.attempts += 1
            manifest.save(trial.manifest_path)
            stack.push(attempt.pop_all())
        return True

    def _do(self, runs: Sequence[PlannedRun]) -> None:
        """Lift runs in step; what goes wrong with several, most often their memory, is tried with each alone."""
        prepared = [(run, one) for run in runs if (one := self._prepared(run)) is not None]
        if self._stop.requested:
            raise Stopped("stopped before a run began.")
        try:
            if prepared:
                walk([one for _, one in prepared])
            return
        except UserError:
            raise
        except Exception as error:
            if len(prepared) == 1:
                self._fail(prepared[0][0], error)
                return
            print(f"warning: {len(prepared)} runs in step failed ({reason(error)}); now one by one.", file=sys.stderr)
        del prepared
        _free_memory()
        for run in runs:
            self._do([run])

    def _prepared(self, run: PlannedRun) -> Ready | None:
        """None for a run that cannot be begun, whose record says why; what no run can do without is raised."""
        try:
            if self._models is None:
                self._models = open_models(self.plan.run_config.system)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._fail(run, UserError(_NO_ROOM))
            return None
        try:
            return prepare(self.plan.run_of(self.folder, run), self._models)
        except UserError as error:  # the same the next time
            self._fail(run, error, for_good=True)
        except Exception as error:
            self._fail(run, error)
        return None

    def _fail(self, run: PlannedRun, error: Exception, for_good: bool = False) -> None:
        """Record the end of a run that did not come to record it itself."""
        trial = Trial(self.folder / run.name)
        record = self._records.of(run.name)
        manifest = record if isinstance(record, Manifest) else self.plan.pending(self.folder, run)
        manifest.end(UserError(reason(error)))
        if for_good:
            manifest.attempts = max(manifest.attempts, self.retries + 1)
        manifest.save(trial.manifest_path)
        if not isinstance(error, UserError):
            traceback.print_exception(error)
        print(f"{run.name} failed: {manifest.error}", file=sys.stderr)


def reason(error: Exception) -> str:
    """One line for the record."""
    if is_out_of_memory(error):
        return "out of memory; try --assets-per-worker 1, system.low_vram=true, or fewer pixels in data.resolution."
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {error} (a bug; the worker's log has its trace)"


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _stop_when_orphaned() -> None:
    """A worker whose parent was killed stops at its next checkpoint, as on SIGTERM."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_ORPHAN_SECONDS)
        os.kill(os.getpid(), 15)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: tyro.conf.Positional[Path], retries: int = 2, together: int = 1) -> None:
    """Work off a batch."""
    _stop_when_orphaned()
    try:
        Worker(folder, retries, together).work_off()
    except UserError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    tyro.cli(main)
