"""A batch's runs as tasks of a Ray cluster: placement and retries are Ray's, the folder's truth is ours."""

import os
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.runs.batch import BatchOptions, reopen, tell_failures
from dreamdist3d.runs.plan import BatchPlan
from dreamdist3d.runs.prepare import resolve_device
from dreamdist3d.runs.progress import shown_progress
from dreamdist3d.runs.records import Records, is_open
from dreamdist3d.stopping import StopSignal

_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
# The first makes Ray's own address that of the loopback interface; it was made for machines with a firewall in the way.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_POLL_SECONDS, _STOP_SECONDS, _KNOCK_SECONDS = 1.0, 60.0, 10.0
_WORKERS: dict[str, Any] = {}  # in a process of Ray's, which serves many tasks: the worker whose backbone is loaded


def work_off_on_ray(folder: Path, plan: BatchPlan, options: BatchOptions) -> None:
    """Do all open runs of a batch whose folder is held, and shared by all machines of the cluster.

    RAY_ADDRESS names the cluster, which must ask for a token: whoever can reach a cluster without one can run code on
    it. Without RAY_ADDRESS Ray starts one that nobody outside this process can use: its ports are open to this machine
    alone, and its token is made for this batch and is in no file. Each task asks for one GPU, if the
    configuration runs on GPUs, else for one core. A task whose process or machine dies is started again by Ray,
    up to `retries` times, and goes on from the run's last checkpoint.

    Raises:
        UserError: Ray is not installed or not reachable, or runs failed.
        Stopped: Ctrl-C or SIGTERM; runs keep their last regular checkpoint.
    """
    folder = folder.resolve()
    reopen(folder, plan)
    on_gpu = resolve_device(plan.run_config.system.device) == "cuda"
    needs = {"num_gpus": 1, "num_cpus": 1} if on_gpu else {"num_cpus": 1}
    with StopSignal() as stop, _cluster() as ray, shown_progress(folder, plan, Records(folder)) as refresh:
        task = ray.remote(max_retries=options.retries, **needs)(do_runs)
        waiting = [task.remote(str(folder), names, options) for names in _groups(folder, plan, options.together)]
        while waiting:
            if stop.requested:
                for one in waiting:
                    ray.cancel(one)  # which is Ctrl-C to the task
                ray.wait(waiting, num_returns=len(waiting), timeout=_STOP_SECONDS)
                raise Stopped("stopped; every run kept its last checkpoint, and the same command goes on.")
            ended, waiting = ray.wait(waiting, timeout=_POLL_SECONDS)
            for one in ended:
                _collect(ray, one)
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


def _collect(ray: Any, task: Any) -> None:
    """Pass on what a task's worker could not work with; a lost machine is told by the runs it left."""
    try:
        ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, UserError) else error) from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
        return


@contextmanager
def _cluster() -> Iterator[Any]:
    """Ray, connected to the cluster for as long as the batch takes."""
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _require_token()
        _knock(address)
    with _environment({} if address else _ALONE | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}):
        ray = _ray()
        try:
            ray.init(address=address or "local", include_dashboard=False if not address else None, **_QUIET)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise UserError(_refusal(address, error)) from error
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _environment(words: dict[str, str]) -> Iterator[None]:
    """Variables for Ray and the processes it starts."""
    before = {name: os.environ.get(name) for name in words}
    os.environ.update(words)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _require_token() -> None:
    """That Ray will show a token, and has it: it would otherwise talk to anybody, or write one for all to read."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        raise UserError(
            "RAY_ADDRESS names a cluster, and a cluster without tokens runs anybody's code: start its machines with "
            "RAY_AUTH_MODE=token, and set RAY_AUTH_MODE=token here too (docs/batches.md)."
        )
    files = [os.environ.get("RAY_AUTH_TOKEN_PATH"), str(Path.home() / ".ray" / "auth_token")]
    if not os.environ.get("RAY_AUTH_TOKEN") and not any(name and Path(name).is_file() for name in files):
        raise UserError("RAY_AUTH_MODE is token, and there is none: set RAY_AUTH_TOKEN to that of the cluster's head.")


def _refusal(address: str | None, error: Exception) -> str:
    """One line of what Ray says over many; of a wrong token it does not always say that it was the token."""
    reason = " ".join(str(error).split())
    if address is None:
        return f"Ray does not start on this machine: {reason}"
    return (
        f"the Ray cluster at RAY_ADDRESS={address} did not let us in: if it asks for a token, set "
        f"RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what `ray get-auth-token` prints on its head. Ray says: {reason}"
    )


def _knock(address: str | None) -> None:
    """Raise UserError where nothing answers at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit() and "//" not in host:
        try:
            socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
        except OSError as error:
            raise UserError(f"no Ray cluster at RAY_ADDRESS={address}: {error}") from error


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UserError("--executor ray needs Ray: pip install 'dreamdist3d[ray]', or leave --executor out.") from None
    return ray
