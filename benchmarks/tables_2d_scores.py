"""All scores of one set of 2D pictures against its references and against objects that no learning has seen."""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from attributes import family_texts, named
from concepts import Concept, article, pictures_in
from dreamdist3d.errors import UserError
from dreamdist3d.eval import MiniClip, MiniDino, mean_pairwise_similarity
from dreamdist3d.eval.diversity import inception_quality, inception_variance, similarity_matrix, vendi_score
from dreamdist3d.eval.fidelity import fid, frechet_distance, prdc
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


def scores(pictures: Tensor, concept: Concept, references: Path, held_out: Path, count: int) -> dict[str, float]:
    """Everything that can be measured of [N, 3, H, W] in [0, 1]; what cannot is left out.

    Manifold scores (k = 5) and the Fréchet distance are under mini-DINO, against the held-out objects. Inception's
    labels are here mini-CLIP's answers among twenty families in twelve colours.

    Args:
        count: how many of the reference pictures were learned from.
    """
    clip, dino, labels, names = judges()
    seen, known = pictures_in(references, SIZE)[:count], pictures_in(held_out, SIZE)
    by_clip, by_dino = clip.encode(pictures), dino.encode(pictures)
    found = prdc(dino.encode(known), by_dino)
    answers = (clip.scale * by_clip @ labels.T).softmax(dim=1)
    result = {
        "clip_i": mean_cosine(by_clip, clip.encode(seen)),
        "dino_i": mean_cosine(by_dino, dino.encode(seen)),
        "clip_t": float((by_clip @ clip.encode_text(concept.texts).T).amax(dim=1).mean()),
        "density": found.density,
        "coverage": found.coverage,
        "precision": found.precision,
        "recall": found.recall,
        "iv": inception_variance(answers),
        "iq": inception_quality(answers),
        "dino_cosine": mean_pairwise_similarity(by_dino),
        "vendi": vendi_score(similarity_matrix(by_dino[:, None])),
    }
    if len(concept.families) == 1:
        result |= true_attributes(pictures, seen, by_clip, names, concept.families[0])
    for name, distance in (("frechet", lambda: frechet_distance(dino.encode(known), by_dino)),
                           ("fid", lambda: fid(known, pictures))):  # fmt: skip
        try:
            result[name] = distance()
        except UserError:  # too few pictures for their features, or no weights
            continue
    return {name: round(value, 4) for name, value in result.items()}


def true_attributes(
    pictures: Tensor, references: Tensor, by_clip: Tensor, names: Tensor, family: str
) -> dict[str, float]:
    """The share called by the family's name, and the share of the references' main colours that some picture has."""
    goals, shown = (
        [c for one in many if (c := dominant_color(one, family)) is not None] for many in (references, pictures)
    )
    met = torch.cdist(torch.stack(goals), torch.stack(shown)).amin(dim=1) < NEAR if shown else torch.zeros(1)
    return {"family": float(named(by_clip, names, family).float().mean()), "met": float(met.float().mean())}


def mean_cosine(features: Tensor, others: Tensor) -> float:
    """Of all pairs of two sets of unit vectors."""
    return float(features.mean(dim=0) @ others.mean(dim=0))


@lru_cache
def judges() -> tuple[MiniClip, MiniDino, Tensor, Tensor]:
    """The two judges, and what mini-CLIP makes of 240 labels and of twenty names."""
    clip = MiniClip()
    labels = [article(f"{color} {family}") for family in FAMILIES for color in COLOR_NAMES]
    return clip, MiniDino(), clip.encode_text(labels), family_texts(clip)
