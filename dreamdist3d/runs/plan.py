"""`batch.json`: what a batch was asked for, and its draws, fixed before the first run begins."""

import json
import re
import secrets
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dreamdist3d.choices import Batching
from dreamdist3d.config import DRAW_SEEDS, SEEDS, PromptProcessorConfig, RunConfig
from dreamdist3d.errors import UserError, shown
from dreamdist3d.files import read_json, safe_name, write_json
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.batches import draw_batch
from dreamdist3d.runs.condition import check_words, open_distribution
from dreamdist3d.runs.engines import check_engine, prompt_encoder
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.run import Run, mesh_settings, package_settings
from dreamdist3d.runs.trial import Trial
from dreamdist3d.typed import build, demand
from dreamdist3d.version import __version__

PLAN_NAME = "batch.json"
_MOST_RUNS = 10_000
_SEED_BITS = 24  # leaves room for the seeds after the first


@dataclass(frozen=True)
class PlannedRun:
    """One run of a batch.

    Args:
        name: of its folder.
        seed: of field, cameras and noise.
        draw_seed, antithetic: the draw; None for a plain text prompt.
    """

    name: str
    seed: int
    draw_seed: int | None = None
    antithetic: bool = False

    def __post_init__(self) -> None:
        demand(self.name == safe_name(self.name), "name", self.name, "a plain name of at most 80 characters")
        demand(0 <= self.seed < SEEDS, "seed", self.seed, "a whole number from 0 to 2^53")
        seed = self.draw_seed
        demand(seed is None or 0 <= seed < DRAW_SEEDS, "draw_seed", seed, "null, or a whole number from 0 to 2^32")


@dataclass(frozen=True)
class BatchPlan:
    """What is in `batch.json`.

    Args:
        draws: how they were chosen.
        distribution_sha256: of the content of the distribution they are drawn from.
        config: the resolved configuration all runs share.
    """

    draws: Batching
    distribution_sha256: str | None
    config: dict[str, Any]
    runs: list[PlannedRun]
    version: str = __version__

    def __post_init__(self) -> None:
        names = {run.name.lower() for run in self.runs}
        demand(len(names) == len(self.runs), "runs", len(self.runs), "of different names")
        demand(_release(self.version) <= _release(__version__), "version", self.version, f"{__version__} or before")

    @classmethod
    def load(cls, folder: Path) -> "BatchPlan":
        """Read a batch's plan.

        Raises:
            UserError: missing or damaged; the message names the file.
        """
        path = folder / PLAN_NAME
        values = read_json(path)
        runs = values.pop("runs", None) if isinstance(values, dict) else None
        if not isinstance(runs, list):
            raise UserError(
                f"{path} is not the plan of a batch: it lists no runs. Restore it, or choose another --out."
            )
        plan = build(cls, values | {"runs": [build(PlannedRun, run, f"{path}: runs") for run in runs]}, str(path))
        build(RunConfig, plan.config, f"{path}: config")
        return plan

    def save(self, folder: Path) -> None:
        """Write it, and a pending `run.json` for every run that has none."""
        for run in self.runs:
            path = Trial(folder / run.name).manifest_path
            if not path.exists():
                self.pending(folder, run).save(path, is_kept=False)  # what is lost of them the plan makes again
        write_json(folder / PLAN_NAME, asdict(self))

    def pending(self, folder: Path, run: PlannedRun) -> Manifest:
        """The record of a run that has not begun."""
        return Manifest(draw=self.draw_of(run), config=asdict(self.config_of(folder, run)))

    @cached_property
    def run_config(self) -> RunConfig:
        """The configuration all runs share."""
        return build(RunConfig, self.config, PLAN_NAME)

    def run_of(self, folder: Path, run: PlannedRun) -> Run:
        """One run, whole."""
        return Run.of(Trial(folder / run.name), self.config_of(folder, run))

    def config_of(self, folder: Path, run: PlannedRun) -> RunConfig:
        """The configuration of one run."""
        shared = self.run_config
        processor = replace(shared.system.prompt_processor, draw_seed=run.draw_seed, antithetic=run.antithetic)
        return replace(
            shared,
            exp_root_dir=str(folder.parent),
            name=folder.name,
            tag=run.name,
            seed=run.seed,
            system=replace(shared.system, prompt_processor=processor),
        )

    def draw_of(self, run: PlannedRun) -> dict[str, Any] | None:
        """What is known of a run's draw before it begins."""
        if run.draw_seed is None:
            return None
        gamma = self.run_config.system.prompt_processor.gamma
        return {"seed": run.draw_seed, "antithetic": run.antithetic, "gamma": gamma}


def plan_batch(config: RunConfig, count: int, draws: Batching = "independent") -> BatchPlan:
    """Choose the draws of a batch.

    With `system.prompt_processor.draw_seed` they count from there, else from a random number. A plain text
    prompt gets a seed for each run and nothing else that differs.

    Raises:
        UserError: no runs, no prompt or one that is too long, a file that is no distribution, weights that are missing,
            or an export setting outside its range.
    """
    if not 1 <= count <= _MOST_RUNS:
        raise UserError(f"--runs is {shown(count)}; a batch has between 1 and {_MOST_RUNS} runs.")
    config = _absolute(config)
    mesh_settings(config.export)
    package_settings(config.export)
    processor = config.system.prompt_processor
    source = open_distribution(processor)
    check_engine(config.system)
    if config.system.engine == "native":
        check_words(processor, config.system.backbone)
    if source is None:
        runs = [PlannedRun(_name(i, processor, config.seed + i), config.seed + i) for i in range(count)]
        return BatchPlan(draws, None, _plain(config), runs)
    first = secrets.randbits(_SEED_BITS) if processor.draw_seed is None else processor.draw_seed
    words = {"gamma": processor.gamma, "prefix": processor.prefix, "suffix": processor.suffix}
    chosen = draw_batch(source, count, first, draws, _encoder(config, draws), **words)
    runs = [
        PlannedRun(_name(i, processor, draw.seed, draw.antithetic), config.seed + i, draw.seed, draw.antithetic)
        for i, draw in enumerate(chosen)
    ]
    return BatchPlan(draws, source.content_hash, _plain(config), runs)


def agree(plan: BatchPlan, config: RunConfig, count: int, draws: Batching, where: Path) -> None:
    """That a command asks for what the folder was planned for, with a distribution that is still the same.

    Raises:
        UserError: it does not; the message names the first difference.
    """
    asked = {"--runs": count, "--draws": draws} | _flat(_plain(_absolute(config)))
    planned = {"--runs": len(plan.runs), "--draws": plan.draws} | _flat(_plain(plan.run_config))
    for key, was in planned.items():
        if asked.get(key) != was:
            raise UserError(
                f"{where / PLAN_NAME} was planned with {key}={shown(was)}, not {shown(asked.get(key))}; "
                "put it back, or choose another --out for a new batch."
            )
    processor = plan.run_config.system.prompt_processor
    source = open_distribution(processor)
    if source is not None and source.content_hash != plan.distribution_sha256:
        raise UserError(
            f"{' + '.join(processor.files)} is not what {where / PLAN_NAME} was planned with: its content has changed; "
            "put the old file back, or choose another --out for a new batch."
        )


def _absolute(config: RunConfig) -> RunConfig:
    """With distribution files that are found from any folder."""
    processor = config.system.prompt_processor
    files = [str(Path(name).resolve()) for name in processor.files]
    distribution = files[0] if isinstance(processor.distribution, str) else files or None
    return replace(
        config, system=replace(config.system, prompt_processor=replace(processor, distribution=distribution))
    )


def _plain(config: RunConfig) -> dict[str, Any]:
    """As JSON gives it back, which knows no tuples."""
    return json.loads(json.dumps(asdict(config)))


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version that tell whether a file of it is understood: major and minor."""
    found = re.match(r"(\d{1,9})\.(\d{1,9})", version)
    demand(found is not None, "version", version, "such as 1.2.3")
    return tuple(map(int, found.groups() if found else ()))


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _encoder(config: RunConfig, draws: Batching) -> SoftPromptEncoder | None:
    return prompt_encoder(config.system) if draws == "spread" else None


def _name(number: int, processor: PromptProcessorConfig, seed: int | None, antithetic: bool = False) -> str:
    stem = "+".join(Path(name).stem for name in processor.files) or processor.prompt
    return f"{number:03d}-{safe_name(stem, 48)}-{seed}{'-twin' if antithetic else ''}"
