"""What an asset is made from: a field, or a mesh file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from dreamdist3d.licences import Terms
from dreamdist3d.mesh.axes import to_world
from dreamdist3d.mesh.colors import color_vertices
from dreamdist3d.mesh.nearest import nearest_on
from dreamdist3d.mesh.painted import Material, Painted
from dreamdist3d.mesh.read import read_file
from dreamdist3d.mesh.reading.common import counted
from dreamdist3d.mesh.render import joined
from dreamdist3d.mesh.repair import repair
from dreamdist3d.mesh.shading import CREASE_DEG, by_crease, by_source
from dreamdist3d.mesh.simplify import simplify
from dreamdist3d.mesh.texture import ColorFunction, mesh_colors

_ONE_SIDED = (".glb", ".gltf")  # formats that say of each surface whether its back is seen


@dataclass(frozen=True, eq=False)
class AssetSource:
    """A surface in world axes (z up, front +x) and its colours.

    Args:
        name: what the asset is called; made safe before it names files.
        surface: at full density, without paint.
        color_at: the colours, [N, 3], or with opacity [N, 4].
        origin: where all this comes from, for the asset's record; JSON values only.
        parts: what the surface was made of, in its axes; their normals tell hard edges from smooth ones, their
            materials what is cut out or lets light through. None of a field, which is smooth and opaque.
        metres: the length of one unit of the surface.
        not_followed: what of a file could not be followed, one line each.
        licences: of what it was made with.
    """

    name: str
    surface: trimesh.Trimesh
    color_at: ColorFunction
    origin: Mapping[str, Any] = field(default_factory=dict)
    parts: Sequence[Painted] = ()
    metres: float = 1.0
    not_followed: tuple[str, ...] = ()
    licences: tuple[Terms, ...] = ()

    def painted(self, max_triangles: int) -> trimesh.Trimesh:
        """The surface within a triangle budget, with sRGB vertex colours."""
        mesh = simplify(self.surface, max_triangles)
        colors = self.color_at(mesh.vertices.view(np.ndarray), mesh.vertex_normals)
        color_vertices(mesh, np.round(255.0 * colors[:, :3]).astype(np.uint8))
        return mesh

    def shaded(self, crease_deg: float | None) -> trimesh.Trimesh:
        """The surface with its vertices split at hard edges: the source's own, or all above an angle if one is given.

        Where the source has no normals, the angle is 30 degrees.
        """
        if crease_deg is not None:
            return by_crease(self.surface, crease_deg)
        return by_source(self.surface, self.parts, CREASE_DEG) if self.parts else self.surface

    @property
    def materials(self) -> tuple[Material, ...]:
        """Each once, in the order of the parts."""
        return tuple(dict.fromkeys(part.material for part in self.parts)) or (Material(),)

    def material_at(self, points: np.ndarray) -> np.ndarray:
        """The number of the material nearest to each of [N, 3] points: [N]."""
        if len(self.materials) == 1:
            return np.zeros(len(points), np.int64)
        whole, numbers = joined(self.parts), {material: n for n, material in enumerate(self.materials)}
        of_face = np.concatenate([np.full(len(part.faces), numbers[part.material]) for part in self.parts])
        return of_face[nearest_on(points, whole.vertices, whole.faces).face]


def file_source(path: Path) -> AssetSource:
    """A glTF, OBJ or PLY file, whose +Y is taken for up and +Z for the front.

    Its surface is repaired and scaled to a largest extent of 1, so that an object of any size is treated alike; its
    colours are those of the nearest point of its own surface.

    Raises:
        UserError: missing, not such a file, or without triangles that have an area.
    """
    file = read_file(path)
    parts = [part.moved(to_world(part.vertices), _turned(part.normals)) for part in file.parts]
    surface = repair(joined(parts))
    middle, metres = surface.bounds.mean(axis=0), float(surface.extents.max())
    surface.apply_translation(-middle).apply_scale(1.0 / metres)
    parts = [part.moved((part.vertices - middle) / metres, part.normals) for part in parts]
    if path.suffix.lower() not in _ONE_SIDED and not surface.is_watertight:
        parts = [replace(part, material=replace(part.material, double_sided=True)) for part in parts]
    notes = file.not_followed
    if lost := surface.metadata["without_area"]:
        notes = (*notes, f"{counted(lost, 'triangle')} without area left out.")
    terms = Terms(f"mesh {path.name}", "not known to dreamdist3d", "unknown", "is the asset")
    origin = {"kind": "file", "path": str(path)}
    return AssetSource(path.stem, surface, mesh_colors(parts), origin, parts, metres, notes, (terms,))


def _turned(normals: np.ndarray | None) -> np.ndarray | None:
    return None if normals is None else to_world(normals)
