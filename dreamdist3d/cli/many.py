"""Commands about many runs: a batch, and a look at it."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from dreamdist3d.choices import Batching
from dreamdist3d.cli.given import ConfigFile, LowVram, Overrides, ReferenceFolder, left_out, overridden


def batch(
    config: ConfigFile,
    runs: Annotated[int, arg(metavar="N")],
    out: Path,
    overrides: Overrides = (),
    workers: int = 0,
    assets_per_worker: int = 1,
    draws: Batching = "independent",
    retries: int = 2,
    executor: Literal["local", "ray"] = "local",
    references: ReferenceFolder = None,
    features: Annotated[
        tuple[str, ...] | None,
        left_out("NAME [NAME ...]", "mini for the miniature's assets, dino_vits16 clip_vitb32 for others"),
    ] = None,
    low_vram: LowVram = False,
    dry_run: bool = False,
) -> None:
    """Many runs with a draw each: lifted, exported, scored. The same command again goes on where it was.

    Args:
        runs: how many.
        out: the folder for everything; batch.json in it holds the plan.
        workers: processes at once; 0 is one for each GPU, or for each core without one.
        assets_per_worker: runs that a worker lifts in step, with one call of the diffusion model for all.
        draws: independent, antithetic pairs, or draws chosen to lie far apart.
        retries: how often a failed run is begun again.
        executor: local processes, or the tasks of a Ray cluster (RAY_ADDRESS; needs dreamdist3d[ray]).
        features: judges that score the batch, as `evaluate` takes them.
        dry_run: print the plan and stop.
    """
    from dreamdist3d.config import load_config

    settings = load_config(config, overridden(overrides, low_vram))  # before torch is imported: a slip shows at once
    from dreamdist3d.cli.report import judges_of_batch, report_batch
    from dreamdist3d.runs.batch import BatchOptions, open_batch, planned, work_off
    from dreamdist3d.runs.progress import describe_plan

    options = BatchOptions(workers, assets_per_worker, retries)
    if dry_run:
        print(describe_plan(out, planned(out, settings, runs, draws)))
        return
    judges = judges_of_batch(settings.system.backbone, features)  # what cannot be had is told before the work
    with open_batch(out, settings, runs, draws) as plan:
        if executor == "ray":
            from dreamdist3d.runs.ray_tasks import work_off_on_ray as work_off
        work_off(out, plan, options)
        print(report_batch(out, plan, references, judges))


def status(batch: Positional[Path], once: bool = False) -> None:
    """A batch at a glance: progress, failures, time left. On a terminal it stays true until the batch has ended.

    Args:
        batch: the folder of a batch.
        once: print the table and end.
    """
    from dreamdist3d.runs.plan import BatchPlan
    from dreamdist3d.runs.progress import watch

    watch(batch, BatchPlan.load(batch), once)
