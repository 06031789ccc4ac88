"""Clusters from the miniature world, to teach an apprentice by: families, one colour, two families, instances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.mini.backgrounds import random_scenes
from dreamdist3d.mini.captions import BACKGROUND_NAMES, background_suffix
from dreamdist3d.mini.dataset import make_object
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.render import composite
from dreamdist3d.randomness import generator_for

SETS, VIEWS = 2, 8  # of every object; a view is there twice, on white and in a scene
UNKNOWN = ("lamp", "bird", "cake", "tower")  # families that the shipped apprentice never saw
HELD_OUT = 0.1  # of the objects of the others
KINDS = {"family": 0.5, "color": 0.12, "families": 0.12, "instance": 0.26}
EDITS = tuple(f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in COLOR_NAMES)
_MOST, _WHITE = 20, 0.7


@dataclass(frozen=True)
class WorldPictures:
    """Pictures of one object: all views on white, then all in scenes."""

    pixels: Tensor  # [2 V, 3, S, S] in [-1, 1]
    truth: dict
    captions: list[tuple[str, ...]]  # of each picture


def object_pictures(seed: int, index: int) -> WorldPictures:
    """The pictures of object `index` of the world `seed`."""
    renders, _, _, truth = make_object(seed, index, SETS)
    rgba = torch.from_numpy(renders)
    scenes, kinds = random_scenes(VIEWS, rgba.shape[1], generator_for(seed, "scenes", index))
    pixels = torch.cat([composite(rgba, torch.ones(1, 3)), composite(rgba, scenes)])
    behind = ["", *(background_suffix(BACKGROUND_NAMES[kind]) for kind in kinds.tolist())]
    said = [tuple(caption + words for caption in truth["captions"][:3]) for words in [""] * VIEWS + behind[1:]]
    return WorldPictures(pixels, truth, said)


def eight_words(truth: dict) -> str:
    """A caption of eight words, whatever the object has (nine or ten tokens for two tones, which count as three)."""
    main, second, pattern, material = (truth[k] for k in ("main_color", "second_color", "pattern", "material"))
    if second:
        return f"{material} {pattern} {main} and {second} {truth['family']} {truth['part_color']} {truth['part']}"
    shape = truth["shape_words"][0] if truth["shape_words"] else "a"
    return f"{shape} {material} plain {main} {truth['family']} with {truth['part_color']} {truth['part']}"


def edited_caption(truth: dict) -> str:
    """What a colour before it would make of the object's caption; the colour goes where `{}` stands."""
    part = f"{truth['part_color']} {truth['part']}"
    article = "" if truth["part"].endswith("s") else ("an " if part[0] in "aeiou" else "a ")
    return f"{{}} {truth['family']} with {article}{part}"


@dataclass(frozen=True)
class WorldCluster:
    """A cluster as (object, picture of it) pairs."""

    name: str
    kind: str
    split: str
    pictures: list[tuple[int, int]]
    targets: list[tuple[int, int]]


def world_clusters(
    truth: Sequence[dict], count: int, seed: int, unknown: Sequence[str] = UNKNOWN
) -> list[WorldCluster]:
    """`count` clusters to learn from, a tenth as many of held-out objects, and as many of families that are not taught.

    Args:
        truth: of every object of the world.
        unknown: families that are kept out of training.
    """
    first_held_out = round(len(truth) * (1 - HELD_OUT))
    taught = [name for name in FAMILIES if name not in unknown]
    places = {name: [i for i, known in enumerate(truth) if known["family"] == name] for name in FAMILIES}
    held_out = max(1, count // 10)
    found = []
    for split, number, families in (
        ("train", count, taught),
        ("known", held_out, taught),
        ("unknown", held_out, unknown),
    ):
        pool = {
            name: [i for i in places[name] if split == "unknown" or (i < first_held_out) == (split == "train")]
            for name in families
        }
        pool = {name: members for name, members in pool.items() if members}
        for index in range(number if pool else 0):
            rng = np.random.default_rng([seed, ("train", "known", "unknown").index(split), index])
            found.append(_cluster(truth, pool, split, index, rng))
    return found


def _cluster(
    truth: Sequence[dict], pool: dict[str, list[int]], split: str, index: int, rng: np.random.Generator
) -> WorldCluster:
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    family = str(rng.choice(list(pool)))
    scene = 0 if rng.random() < _WHITE else VIEWS
    name = f"{split}-{index:05d}-{kind}-{family}"
    if kind == "instance":
        one = int(rng.choice(pool[family]))
        views = [(one, scene + int(view)) for view in rng.permutation(VIEWS)]
        return WorldCluster(name, kind, split, views[:-2], views)
    objects = pool[family]
    if kind == "color":
        color = truth[int(rng.choice(objects))]["main_color"]
        objects = [i for i in objects if truth[i]["main_color"] == color]
    if kind == "families" and len(pool) > 1:
        objects = objects + pool[str(rng.choice([other for other in pool if other != family]))]
    chosen = rng.permutation(objects)[:_MOST].tolist()
    return WorldCluster(name, kind, split, [(one, scene + int(rng.integers(VIEWS))) for one in chosen], [])
