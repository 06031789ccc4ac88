"""What references show: one family, two, or whatever is red; with pictures that no learning sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dreamdist3d.files import write_atomic
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.references import picture_of, write_references
from dreamdist3d.prompts import ReferenceImages, load_references

HELD_OUT = 240


@dataclass(frozen=True)
class Concept:
    """What a set of references has in common.

    Attributes:
        name: of its folder.
        families: they are from.
        color: all have; None: any.
        noun: its class in words, for methods that need one.
    """

    name: str
    families: tuple[str, ...]
    noun: str
    color: str | None = None

    @property
    def texts(self) -> list[str]:
        """Captions that together say what it is."""
        return [article(f"{self.color} {family}" if self.color else family) for family in self.families]


def concept_of(name: str) -> Concept:
    """A family's name, two joined by `+`, or `red`."""
    if name == "red":
        return Concept(name, tuple(FAMILIES), "red object", "red")
    families = tuple(name.split("+"))
    return Concept(name, families, families[0] if len(families) == 1 else "object")


def article(noun: str) -> str:
    """ "a mushroom", "an orange house"."""
    return f"a{'n' if noun[0] in 'aeiou' else ''} {noun}"


def write_concept(folder: Path, concept: Concept, count: int, seed: int) -> None:
    """`count` pictures that show it, unless they are there. Another seed shows other objects."""
    if folder.is_dir() and len(list(folder.glob("*.png"))) >= count:
        return
    if len(concept.families) == 1 and concept.color is None:
        write_references(folder, concept.families[0], count, seed)  # what every other benchmark learns from
        return
    for index, (family, color, rng) in enumerate(_kinds(concept, count, seed)):
        write_atomic(folder / f"{index:03d}-{family}.png", picture_of(family, color, rng).save)


def _kinds(concept: Concept, count: int, seed: int) -> Iterator[tuple[str, str, np.random.Generator]]:
    """In turn every family, and round the palette where no colour is asked for."""
    rng = np.random.default_rng([seed, len(concept.families)])
    families = [str(name) for name in rng.permutation(concept.families)]
    colors = [str(name) for name in rng.permutation(COLOR_NAMES)]
    for index in range(count):
        color = concept.color or colors[index // len(families) % len(colors)]
        yield families[index % len(families)], color, rng


def first_references(folder: Path, count: int, size: int) -> ReferenceImages:
    """The first `count` pictures of a folder."""
    found = load_references(folder, size)
    return ReferenceImages(found.pixels[:count], found.paths[:count], [])


def pictures_in(folder: Path, size: int) -> torch.Tensor:
    """[N, 3, size, size] in [0, 1]."""
    return load_references(folder, size).pixels / 2 + 0.5
