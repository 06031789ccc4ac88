"""`batch.json`: what a batch was asked for, and its draws, fixed before the first run begins."""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dreamdist3d.config import PromptProcessorConfig, RunConfig
from dreamdist3d.errors import UserError
from dreamdist3d.files import read_json, safe_name, write_json
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.batches import Batching, draw_batch
from dreamdist3d.runs.condition import open_distribution
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.prepare import open_backbone
from dreamdist3d.runs.trial import Trial
from dreamdist3d.typed import build
from dreamdist3d.version import __version__

PLAN_NAME = "batch.json"
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
        return build(cls, values | {"runs": [build(PlannedRun, run, f"{path}: runs") for run in runs]}, str(path))

    def save(self, folder: Path) -> None:
        """Write it, and a pending `run.json` for every run that has none."""
        for run in self.runs:
            trial = Trial(folder / run.name)
            if not trial.manifest_path.exists():
                Manifest(draw=self.draw_of(run), config=asdict(self.config_of(folder, run))).save(trial.manifest_path)
        write_json(folder / PLAN_NAME, asdict(self))

    def run_config(self) -> RunConfig:
        """The configuration all runs share."""
        return build(RunConfig, self.config, PLAN_NAME)

    def config_of(self, folder: Path, run: PlannedRun) -> RunConfig:
        """The configuration of one run."""
        shared = self.run_config()
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
        gamma = self.run_config().system.prompt_processor.gamma
        return {"seed": run.draw_seed, "antithetic": run.antithetic, "gamma": gamma}


def plan_batch(config: RunConfig, count: int, draws: Batching = "independent") -> BatchPlan:
    """Choose the draws of a batch.

    With `system.prompt_processor.draw_seed` they count from there, else from a random number. A plain text
    prompt gets a seed for each run and nothing else that differs.

    Raises:
        UserError: no runs, no prompt, a file that is no distribution, or weights that are missing.
    """
    if count < 1:
        raise UserError(f"--runs is {count}; a batch needs at least one.")
    config = _absolute(config)
    processor = config.system.prompt_processor
    source = open_distribution(processor)
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
    planned = {"--runs": len(plan.runs), "--draws": plan.draws} | _flat(_plain(plan.run_config()))
    for key, was in planned.items():
        if asked[key] != was:
            raise UserError(
                f"{where / PLAN_NAME} was planned with {key}={was!r}, not {asked[key]!r}; "
                "put it back, or choose another --out for a new batch."
            )
    processor = plan.run_config().system.prompt_processor
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


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _encoder(config: RunConfig, draws: Batching) -> SoftPromptEncoder | None:
    if draws != "spread":
        return None
    backbone = open_backbone(config.system)
    return SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)


def _name(number: int, processor: PromptProcessorConfig, seed: int, antithetic: bool = False) -> str:
    stem = "+".join(Path(name).stem for name in processor.files) or processor.prompt
    return f"{number:03d}-{safe_name(stem, 48)}-{seed}{'-twin' if antithetic else ''}"
