"""What the benchmarks on the miniature share: training a distribution once, sampling and lifting it, scoring."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attributes import family_accuracy
from dreamdist3d.apprentice import instant, load_apprentice, packaged_apprentice
from dreamdist3d.backbones import load_backbone
from dreamdist3d.baselines import make_baseline, preset
from dreamdist3d.config import load_config
from dreamdist3d.eval import MiniClip, MiniDino, mean_pairwise_similarity
from dreamdist3d.mini.measures import color_spread
from dreamdist3d.prompts import PromptDraw, PromptSource, learn, load_references, preset_for
from dreamdist3d.prompts.looks.pictures import Sampling, rescale_for, sample_pictures
from dreamdist3d.runs.batch import BatchOptions, open_batch, work_off

CONFIG = "dreamdist3d/mini.yaml"
JUDGED_SIZE = 128  # pixels a side at which references are judged


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes of one thread each."""
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))


def train(references: Path, path: Path, settings: dict[str, Any]) -> None:
    """Learn a distribution into `path`, unless it is there already; resumes."""
    if not path.exists():
        backbone = load_backbone("mini")
        images = load_references(references, backbone.image_size)
        usual = preset_for(backbone, settings.get("objective", "coupled"))
        learn(backbone, images, replace(usual, **settings), path)


def make_instant(references: Path, path: Path) -> None:
    """The packaged apprentice's distribution into `path`."""
    backbone = load_backbone("mini")
    images = load_references(references, backbone.image_size)
    instant(backbone, load_apprentice(packaged_apprentice(backbone)), images).save(path)


def make_rival(references: Path, folder: Path, method: str, settings: dict[str, Any]) -> None:
    """A baseline in `folder`, unless it is there already; resumes."""
    backbone = load_backbone("mini")
    images = load_references(references, backbone.image_size)
    make_baseline(backbone, images, preset(backbone, method, **settings), folder)


def lift_batch(folder: Path, distribution: Path, count: int, workers: int, first: int = 0, *words: str) -> list[Path]:
    """The folders of `count` lifts, whose seeds and draw seeds count from `first`; what is there is not made again."""
    processor = "system.prompt_processor"
    named = (f"seed={first}", f"{processor}.draw_seed={first}", f"{processor}.distribution={distribution}")
    with open_batch(folder, load_config(CONFIG, [*named, *words]), count, "independent") as plan:
        work_off(folder, plan, BatchOptions(workers=workers))
    return [folder / run.name for run in plan.runs]


def sample(source: PromptSource, draws: Sequence[PromptDraw], noise: str = "fresh", noise_seed: int = 0) -> Tensor:
    """Pictures [N, 3, H, W] of draws, as `dreamdist3d sample` makes them."""
    backbone = load_backbone("mini")
    return sample_pictures(
        backbone, source, draws, Sampling(rescale=rescale_for(backbone), noise=noise, noise_seed=noise_seed)
    )


def score(pictures: Tensor, family: str) -> dict[str, float]:
    """Colour spread, family accuracy and mean pairwise mini-DINO similarity of [N, 3, H, W]."""
    return {
        "color_spread": color_spread(pictures, family),
        "family_accuracy": family_accuracy(pictures, family, MiniClip()),
        "dino_similarity": mean_pairwise_similarity(MiniDino().encode(pictures)),
        "clip_similarity": mean_pairwise_similarity(MiniClip().encode(pictures)),
    }


def score_references(references: Path, family: str) -> dict[str, float]:
    """The same of the reference pictures themselves."""
    return score(load_references(references, JUDGED_SIZE).pixels / 2 + 0.5, family)


def averaged(rows: Sequence[dict[str, float]], round_to: int = 3) -> dict[str, float]:
    """The mean of every score."""
    return {key: round(statistics.mean(row[key] for row in rows), round_to) for key in rows[0]}


def in_rows(pictures: Tensor, length: int) -> list[list[Tensor]]:
    """[N, 3, H, W] as rows of `length` pictures."""
    return [list(pictures[i : i + length]) for i in range(0, len(pictures), length)]
