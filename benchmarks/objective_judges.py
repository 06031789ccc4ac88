"""Scores of a set of draws against a family's references and against objects that were held out."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attributes import family_texts, named
from dreamdist3d.eval.diversity.similarity import mean_pairwise_similarity
from dreamdist3d.eval.features.mini import MiniClip, MiniDino
from dreamdist3d.eval.fidelity.manifold import NEAREST, prdc
from dreamdist3d.mini.measures import dominant_color
from dreamdist3d.prompts import load_references

REFERENCES, HELD_OUT = 20, 240
NEAR = 0.25  # RGB distance within which two colours are called the same
SIZE = 64


@dataclass(frozen=True)
class Judged:
    """Pictures as the judges see them."""

    features: dict[str, Tensor]  # "clip", "dino": unit [N, D]; "color": RGB [N, 3], NaN where nothing stands out
    hits: Tensor  # bool [N], called by their family's name

    def first(self, count: int) -> "Judged":
        return Judged({name: f[:count] for name, f in self.features.items()}, self.hits[:count])


def judges(workers: int) -> ProcessPoolExecutor:
    """Processes of one thread each."""
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))


def score(out: Path, family: str, pictures: np.ndarray | None) -> dict[str, float]:
    """All scores of uint8 [N, 3, H, W]; of the references themselves for None."""
    references, held_out = references_of(out, family).first(REFERENCES), held_out_of(out, family)
    seen = references if pictures is None else judged(torch.from_numpy(pictures).float() / 255, family)
    colors = _known(seen.features["color"])
    if len(colors) <= NEAREST:
        raise ValueError(f"only {len(colors)} of {len(seen.hits)} pictures show anything")
    distances = torch.cdist(_known(references.features["color"]), colors)
    result = {
        "met": float((distances.min(dim=1).values < NEAR).float().mean()),
        "near": float((distances.min(dim=0).values < NEAR).float().sum()) / len(seen.hits),
        "family": float(seen.hits.float().mean()),
        "spread": float(torch.pdist(colors).mean()),
    }
    for name in ("clip", "dino"):
        result[f"{name}_similarity"] = mean_pairwise_similarity(seen.features[name])
    for name in ("clip", "dino", "color"):
        found = prdc(_known(held_out.features[name]), _known(seen.features[name]))
        result |= {f"{name}_coverage": found.coverage, f"{name}_precision": found.precision}
    return {name: round(value, 4) for name, value in result.items()}


@lru_cache
def references_of(out: Path, family: str) -> Judged:
    """All that `prepare` wrote, in order."""
    return judged(_pixels(out / family / "references"), family)


@lru_cache
def held_out_of(out: Path, family: str) -> Judged:
    return judged(_pixels(out / family / "held-out"), family)


def judged(pictures: Tensor, family: str) -> Judged:
    """What the judges say of [N, 3, H, W] in [0, 1]."""
    clip, dino, texts = _judges()
    colors = [dominant_color(picture, family) for picture in pictures]
    nothing = torch.full((3,), float("nan"))
    features = {
        "clip": clip.encode(pictures),
        "dino": dino.encode(pictures),
        "color": torch.stack([nothing if color is None else color for color in colors]),
    }
    return Judged(features, named(features["clip"], texts, family))


@lru_cache
def _judges() -> tuple[MiniClip, MiniDino, Tensor]:
    clip = MiniClip()
    return clip, MiniDino(), family_texts(clip)


def _pixels(folder: Path) -> Tensor:
    return load_references(folder, SIZE).pixels / 2 + 0.5


def _known(colors: Tensor) -> Tensor:
    return colors[~colors.isnan().any(dim=1)]
