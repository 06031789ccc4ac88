"""One object of the miniature world: its solids, its paint, and everything that is true of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import trimesh

from dreamdist3d.mini.surface import Paint, Surface

OBJECT_RADIUS = 0.5
RGB = tuple[float, float, float]


@dataclass
class ObjectSpec:
    """One object: its geometry, and everything a caption or a measurement may want to know of it.

    `attributes` are the continuous shape parameters; `shape_words` describe the whole object,
    `part_words` its second part, whose name is `part` ("legs" takes no article: `part_is_plural`).
    `pattern` and `material` (`dreamdist3d.mini.surface`) are those of the main part; a pattern is drawn
    in `second_color` over the main one.
    """

    family: str
    main_color: str
    part_color: str
    part: str
    part_is_plural: bool = False
    pattern: str = "plain"
    second_color: str = ""
    material: str = "matt"
    attributes: dict[str, float] = field(default_factory=dict)
    shape_words: list[str] = field(default_factory=list)
    part_words: list[str] = field(default_factory=list)
    main_rgb: RGB = (0, 0, 0)
    part_rgb: RGB = (0, 0, 0)
    second_rgb: RGB = (0, 0, 0)
    main_paint: Paint = field(default_factory=Paint)
    solids: list[tuple[trimesh.Trimesh, Paint]] = field(default_factory=list)

    def main(self, *meshes: trimesh.Trimesh) -> None:
        """Put solids of the main colour, pattern and material into the object."""
        self.solids.extend((mesh, self.main_paint) for mesh in meshes)

    def second(self, *meshes: trimesh.Trimesh) -> None:
        """Put solids of the part's colour into the object."""
        self.add(self.part_rgb, *meshes)

    def add(self, rgb: RGB, *meshes: trimesh.Trimesh) -> None:
        """Put matt solids of one colour into the object."""
        self.solids.extend((mesh, Paint(rgb)) for mesh in meshes)

    def mesh(self) -> trimesh.Trimesh:
        """All solids as one mesh with their base colours on its faces, centred and scaled to `OBJECT_RADIUS`."""
        whole: Any = trimesh.util.concatenate([mesh for mesh, _ in self.solids])
        colors = np.concatenate([np.tile(paint.rgb, (len(mesh.faces), 1)) for mesh, paint in self.solids])
        whole.apply_translation(-whole.bounds.mean(axis=0))
        whole.apply_scale(OBJECT_RADIUS / np.linalg.norm(whole.vertices, axis=1).max())
        whole.visual.face_colors = np.round(255 * colors).astype(np.uint8)
        return whole

    def surface(self) -> Surface:
        """What every point of `mesh` looks like."""
        faces = np.repeat(np.arange(len(self.solids)), [len(mesh.faces) for mesh, _ in self.solids])
        mesh = self.mesh()
        painted = np.array([paint is self.main_paint for _, paint in self.solids])[faces]
        corners = mesh.vertices[mesh.faces[painted]].reshape(-1, 3)
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
        return Surface([paint for _, paint in self.solids], faces, middle)


class Sampler:
    """Draws a parameter, remembers it, and names it when it is far out."""

    def __init__(self, rng: np.random.Generator, spec: ObjectSpec) -> None:
        self.rng, self.spec = rng, spec

    def __call__(
        self, name: str, low: float, high: float, *, words: tuple[str, str] | None = None, of_part: bool = False
    ) -> float:
        """A uniform draw; one of the two `words` is noted where it falls into the lowest or highest third."""
        value = float(self.rng.uniform(low, high))
        self.spec.attributes[name] = value
        if words:
            place = (value - low) / (high - low)
            word = words[0] if place < 0.35 else words[1] if place > 0.65 else None
            target = self.spec.part_words if of_part else self.spec.shape_words
            if word:
                target.append(word)
        return value

    def chance(self, name: str, probability: float, word: str | None = None) -> bool:
        """True with `probability`; `word` is noted then."""
        yes = bool(self.rng.random() < probability)
        self.spec.attributes[name] = float(yes)
        if yes and word:
            self.spec.shape_words.append(word)
        return yes


@dataclass(frozen=True)
class Family:
    """How a family is built, what its second part is called, and where its main colour shows.

    `main_band` is the vertical range of the bounding box, from the top (0) to the bottom (1), in which
    the main colour dominates: measurements of the main part look only there. `axes` are those along which
    stripes may run and two tones may be split, where both would be seen.
    """

    fill: Callable[[ObjectSpec, Sampler], None]
    part: str
    part_is_plural: bool
    main_band: tuple[float, float]
    axes: str = "z"
