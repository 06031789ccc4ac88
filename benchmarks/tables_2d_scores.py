"""All scores of one set of 2D pictures against its references and against objects that no learning has seen."""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from attributes import family_texts, named
from concepts import Concept, article, pictures_in
from dreamdist3d.errors import UserError
from dreamdist3d.eval import MiniClip, MiniDino
from dreamdist3d.eval.diversity import inception_variance, similarity_matrix
from dreamdist3d.eval.fidelity import fid, frechet_distance, inside_balls
from dreamdist3d.eval.fidelity.manifold import NEAREST
from dreamdist3d.eval.measure import vendi_estimate
from dreamdist3d.eval.statistics import (
    AssetMean,
    Estimate,
    jackknife,
    jackknife_mean,
    matched_similarity,
    share_of,
)
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.measures import dominant_color
from dreamdist3d.mini.palette import COLOR_NAMES

SIZE = 64
NEAR = 0.25  # RGB distance within which two colours are called the same
COLUMNS = {
    "clip_i": "CLIP-I ↑",
    "dino_i": "DINO ↑",
    "clip_t": "CLIP-T ↑",
    "frechet": "Fréchet ↓",
    "fid": "FID ↓",
    "density": "density ↑",
    "coverage": "coverage ↑",
    "precision": "precision ↑",
    "recall": "recall ↑",
    "iv": "IV ↑",
    "iq": "IQ ↓",
    "dino_cosine": "DINO cosine ↓",
    "vendi": "Vendi ↑",
    "family": "family ↑",
    "met": "colours met ↑",
}


def scores(pictures: Tensor, concept: Concept, references: Path, held_out: Path, count: int) -> dict[str, Estimate]:
    """Everything that can be measured of [N, 3, H, W] in [0, 1], with its interval over pictures; the rest is left out.

    Manifold scores (k = 5) and the Fréchet distance are under mini-DINO, against the held-out objects. Inception's
    labels are here mini-CLIP's answers among twenty families in twelve colours.

    Args:
        count: how many of the reference pictures were learned from.
    """
    clip, dino, labels, names = judges()
    seen, known = pictures_in(references, SIZE)[:count], dino.encode(pictures_in(held_out, SIZE))
    by_clip, by_dino = clip.encode(pictures), dino.encode(pictures)
    answers = (clip.scale * by_clip @ labels.T).softmax(dim=1)
    number = len(pictures)
    result = {
        "clip_i": mean_of_each(by_clip @ clip.encode(seen).T),
        "dino_i": mean_of_each(by_dino @ dino.encode(seen).T),
        "clip_t": mean_of_each((by_clip @ clip.encode_text(concept.texts).T).amax(dim=1, keepdim=True)),
        **manifold(known, by_dino),
        "iv": jackknife(lambda rows: inception_variance(answers[rows]), number, 0.0),
        "iq": mean_of_each(torch.special.entr(answers).sum(dim=1, keepdim=True)),
        "dino_cosine": jackknife_mean(matched_similarity(by_dino[:, None]), -1.0, 1.0),
        "vendi": vendi_estimate(similarity_matrix(by_dino[:, None])),
    }
    if concept.color is None:
        hits = torch.stack([named(by_clip, names, family) for family in concept.families]).any(dim=0)
        result["family"] = share_of(share(hits), len(hits))
    if len(concept.families) == 1:
        result["met"] = colors_met(pictures, seen, concept.families[0])
    for name, distance in (("frechet", lambda: frechet_distance(known, by_dino)),
                           ("fid", lambda: fid(pictures_in(held_out, SIZE), pictures))):  # fmt: skip
        try:
            result[name] = Estimate(distance())
        except UserError:  # too few pictures for their features, or no weights
            continue
    return result


def manifold(known: Tensor, features: Tensor) -> dict[str, Estimate]:
    """Density, coverage, precision and recall of features [N, D] against [R, D]."""
    inside, reverse = inside_balls(known, features), inside_balls(features, known)  # [R, N], [N, R]
    return {
        "density": mean_of_each(inside.double().sum(dim=0)[:, None] / NEAREST),
        "coverage": share_of(share(inside.any(dim=1)), len(features)),
        "precision": share_of(share(inside.any(dim=0)), len(features)),
        "recall": share_of(share(reverse.any(dim=0)), len(features)),
    }


def colors_met(pictures: Tensor, references: Tensor, family: str) -> Estimate:
    """The share of the references' main colours that some picture has."""
    goals, shown = (
        [c for one in many if (c := dominant_color(one, family)) is not None] for many in (references, pictures)
    )
    met = torch.cdist(torch.stack(goals), torch.stack(shown)).amin(dim=1) < NEAR if shown else torch.zeros(1)
    return share_of(share(met), len(met))


def mean_of_each(values: Tensor) -> Estimate:
    """Of [N, M], N of which are independent."""
    return jackknife_mean(AssetMean(values.double().mean(dim=1)))


def share(hits: Tensor) -> float:
    """Of true values."""
    return float(hits.double().mean())


@lru_cache
def judges() -> tuple[MiniClip, MiniDino, Tensor, Tensor]:
    """The two judges, and what mini-CLIP makes of 240 labels and of twenty names."""
    clip = MiniClip()
    labels = [article(f"{color} {family}") for family in FAMILIES for color in COLOR_NAMES]
    return clip, MiniDino(), clip.encode_text(labels), family_texts(clip)
