"""What an asset is made from: a field, or a mesh file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from dreamdist3d.mesh.axes import to_world
from dreamdist3d.mesh.read import read_painted
from dreamdist3d.mesh.render import joined
from dreamdist3d.mesh.repair import repair
from dreamdist3d.mesh.simplify import simplify
from dreamdist3d.mesh.texture import ColorFunction, mesh_colors


@dataclass(frozen=True, eq=False)
class AssetSource:
    """A surface in world axes (z up, front +x) and its colours.

    Args:
        name: what the asset is called; made safe before it names files.
        surface: at full density, without paint.
        color_at: the colours.
        origin: where all this comes from, for the asset's record; JSON values only.
    """

    name: str
    surface: trimesh.Trimesh
    color_at: ColorFunction
    origin: Mapping[str, Any] = field(default_factory=dict)

    def painted(self, max_triangles: int) -> trimesh.Trimesh:
        """The surface within a triangle budget, with sRGB vertex colours."""
        mesh = simplify(self.surface, max_triangles)
        colors = self.color_at(mesh.vertices.view(np.ndarray), mesh.vertex_normals)
        mesh.visual.vertex_colors = np.round(255.0 * colors).astype(np.uint8)
        return mesh


def file_source(path: Path) -> AssetSource:
    """A GLB, OBJ or PLY file, whose +Y is taken for up and +Z for the front.

    Its surface is repaired; its colours are those of the nearest point of its own surface.

    Raises:
        UserError: missing, not such a file, or without triangles.
    """
    parts = [part.moved(to_world(part.vertices)) for part in read_painted(path)]
    return AssetSource(path.stem, repair(joined(parts)), mesh_colors(parts), {"kind": "file", "path": str(path)})
