"""Data-parallel training on the cores of one machine: one single-threaded process each.

On small networks the threads of one process mostly wait for each other, and all the more when something
else wants a core.
"""

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.stopping import StopSignal

_POLL_SECONDS = 0.2


def rank() -> int:
    """This process's number, 0 outside a group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average(tensors: Sequence[Tensor], flag: bool) -> bool:
    """Replace every tensor by its mean over the processes, in place; returns whether any process raised `flag`."""
    if world_size() == 1:
        return flag
    flat = torch.cat([t.reshape(-1) for t in tensors] + [torch.tensor([float(flag)])])
    dist.all_reduce(flat)
    flat /= world_size()
    pieces = flat[:-1].split([t.numel() for t in tensors])
    torch._foreach_copy_(list(tensors), [p.view_as(t) for p, t in zip(pieces, tensors, strict=True)])
    return bool(flat[-1] > 0)


def run_parallel(workers: int, function: Callable[..., None], *arguments: Any) -> None:
    """Run `function(*arguments)` in `workers` processes that see each other; in this one if `workers` is 1.

    Ctrl-C and SIGTERM are passed on once to every process, and all are waited for.

    Raises:
        Stopped, UserError: what a process raised of these.
        torch.multiprocessing.ProcessException: a process failed in any other way.
    """
    if workers == 1:
        function(*arguments)
        return
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    with StopSignal() as stop:
        context = torch.multiprocessing.start_processes(
            _enter, args=(workers, store.port, function, arguments), nprocs=workers, join=False, start_method="spawn"
        )
        asked = False
        while not context.join(timeout=_POLL_SECONDS):
            if stop.requested and not asked:
                asked = True
                for pid in context.pids():
                    os.kill(pid, signal.SIGTERM)
    for kind in (Stopped, UserError):
        if store.check([kind.__name__]):
            raise kind(store.get(kind.__name__).decode())


def _enter(index: int, workers: int, port: int, function: Callable[..., None], arguments: tuple) -> None:
    # In a session of its own, so that the terminal's Ctrl-C comes through the parent and only once.
    os.setsid()
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = dist.TCPStore("localhost", port, is_master=False)
    dist.init_process_group("gloo", store=dist.PrefixStore("group", store), rank=index, world_size=workers)
    try:
        function(*arguments)
    except (Stopped, UserError) as error:
        # Told through the store and not by failing: a failure would have the others killed in mid-checkpoint.
        store.set(type(error).__name__, str(error))
    finally:
        dist.destroy_process_group()
