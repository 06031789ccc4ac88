"""A batch's runs as tasks of a Ray cluster."""

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamdist3d.ray_cluster import ray_cluster, work_off_tasks
from dreamdist3d.runs.batch import BatchOptions, reopen, tell_failures
from dreamdist3d.runs.plan import BatchPlan
from dreamdist3d.runs.prepare import resolve_device
from dreamdist3d.runs.progress import shown_progress
from dreamdist3d.runs.records import Records, is_open
from dreamdist3d.stopping import StopSignal

_WORKERS: dict[str, Any] = {}  # in a process of Ray's, which serves many tasks: the worker whose backbone is loaded


def work_off_on_ray(folder: Path, plan: BatchPlan, options: BatchOptions) -> None:
    """Do all open runs of a batch whose folder is held, and shared by all machines of the cluster.

    Each task asks for one GPU, if the configuration runs on GPUs, else for one core. A task whose process or machine
    dies is started again by Ray, up to `retries` times, and goes on from the run's last checkpoint.

    Raises:
        UserError: Ray is not installed or not reachable (`ray_cluster`), or runs failed.
        Stopped: Ctrl-C or SIGTERM; runs keep their last regular checkpoint.
    """
    folder = folder.resolve()
    reopen(folder, plan)
    on_gpu = resolve_device(plan.run_config.system.device) == "cuda"
    calls = [(str(folder), names, options) for names in _groups(folder, plan, options.together)]
    if calls:
        with StopSignal() as stop, ray_cluster() as ray, shown_progress(folder, plan, Records(folder)) as refresh:
            for _ in work_off_tasks(ray, do_runs, calls, on_gpu, options.retries, stop):
                refresh()
    tell_failures(folder, plan)


def do_runs(folder: str, names: Sequence[str], options: BatchOptions) -> str:
    """A task: work off the named runs here, with the backbone that an earlier task of this process loaded.

    Returns:
        The machine's name.

    Raises:
        UserError: something that no run could be done with.
    """
    from dreamdist3d.runs.worker import Worker

    if folder not in _WORKERS:
        _WORKERS.clear()
        _WORKERS[folder] = Worker(Path(folder), options.retries, options.together)
    _WORKERS[folder].work_off(names)
    return socket.gethostname()


def _groups(folder: Path, plan: BatchPlan, size: int) -> list[list[str]]:
    """The names of unfinished runs, `size` to a task."""
    records = Records(folder)
    names = [run.name for run in plan.runs if is_open(records.of(run.name), retries=sys.maxsize)]
    return [names[i : i + size] for i in range(0, len(names), size)]
