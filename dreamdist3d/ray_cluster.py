"""A Ray cluster for as long as some work takes: reached or started, asked for tasks, left.

Placement and retries are Ray's; what is true of the work stands in its folder, which all machines share.
"""

import os
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.stopping import StopSignal

_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
# The first makes Ray's own address that of the loopback interface; it was made for machines with a firewall in the way.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_POLL_SECONDS, _STOP_SECONDS, _KNOCK_SECONDS = 1.0, 60.0, 10.0


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """Ray, connected to the cluster for as long as the context lasts.

    RAY_ADDRESS names the cluster, which must ask for a token: whoever can reach a cluster without one can run code on
    it. Without RAY_ADDRESS Ray starts one that nobody outside this process can use: its ports are open to this machine
    alone, and its token is made for this work and is in no file.

    Raises:
        UserError: Ray is not installed, not reachable, or asks for a token that is not there.
    """
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


def work_off_tasks(
    ray: Any,
    work: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    on_gpu: bool,
    retries: int,
    stop: StopSignal,
) -> Iterator[int]:
    """Call `work` with each of `calls`, each as a task that holds one GPU, or else one core.

    A task whose process or machine dies is started again by Ray, up to `retries` times; if that does not help it is
    left out without a word, since the folder tells what was not done.

    Args:
        stop: cancels everything, which is Ctrl-C to a task.

    Yields:
        How many tasks have ended since the last time, about once a second.

    Raises:
        UserError: what a task raised of that kind.
        Stopped: as `stop` asked.
    """
    needs = {"num_gpus": 1, "num_cpus": 1} if on_gpu else {"num_cpus": 1}
    task = ray.remote(max_retries=retries, **needs)(work)
    waiting = [task.remote(*call) for call in calls]
    while waiting:
        if stop.requested:
            for one in waiting:
                ray.cancel(one)
            ray.wait(waiting, num_returns=len(waiting), timeout=_STOP_SECONDS)
            raise Stopped("stopped; what is whole is kept, and the same command goes on.")
        ended, waiting = ray.wait(waiting, timeout=_POLL_SECONDS)
        for one in ended:
            _collect(ray, one)
        yield len(ended)


def _collect(ray: Any, task: Any) -> None:
    """Pass on what a task could not work with; a lost machine is told by the work it left."""
    try:
        ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, UserError) else error) from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
        return


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
