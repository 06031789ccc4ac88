"""Experts as tasks of a Ray cluster whose machines share the folder."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamdist3d.apprentice.bank import Bank, Cluster
from dreamdist3d.apprentice.teaching import TeachSettings, open_stacks, teach_stack, write_counts
from dreamdist3d.backbones import Backbone
from dreamdist3d.progress import bar
from dreamdist3d.prompts.learning.settings import LearnConfig
from dreamdist3d.ray_cluster import ray_cluster, work_off_tasks
from dreamdist3d.stopping import StopSignal

if TYPE_CHECKING:
    from dreamdist3d.eval import MiniClip

RETRIES = 3
Models = Callable[[], tuple[Backbone, "MiniClip"]]
_LOADED: dict[str, tuple[Backbone, "MiniClip"]] = {}  # in a process of Ray's, which serves many tasks


def teach_on_ray(
    models: Models, on_gpu: bool, folder: Path, config: LearnConfig, settings: TeachSettings
) -> dict[str, Any]:
    """As `teach`, one task for each stack of clusters of the bank in `folder / "clusters"`.

    A task whose process or machine dies is started again. Its stack begins anew; stacks that are whole are kept.

    Args:
        models: loads backbone and judge, once in every process of the cluster; it is pickled.
        on_gpu: each task asks for one GPU, else for one core.

    Raises:
        UserError: Ray is not installed or not reachable (`ray_cluster`), or an expert's loss is not finite.
        Stopped: Ctrl-C or SIGTERM; what is whole is kept.
    """
    folder = folder.resolve()
    bank = Bank(folder / "clusters")
    stacks, done = open_stacks(bank, folder, settings)
    if not stacks:
        return write_counts(bank, folder, settings)
    calls = [(models, str(folder), stack, config, settings) for stack in stacks]
    with StopSignal() as stop, ray_cluster() as ray, bar("stacks of experts", done + len(calls), done) as progress:
        for ended in work_off_tasks(ray, do_stack, calls, on_gpu, RETRIES, stop):
            if ended:
                progress.advance(steps=ended)
    return write_counts(bank, folder, settings)


def do_stack(models: Models, folder: str, stack: list[Cluster], config: LearnConfig, settings: TeachSettings) -> None:
    """A task: teach a stack here, with the models that an earlier task of this process loaded."""
    if folder not in _LOADED:
        _LOADED.clear()
        _LOADED[folder] = models()
    backbone, judge = _LOADED[folder]
    teach_stack(backbone, Bank(Path(folder) / "clusters"), Path(folder), stack, config, settings, judge)
