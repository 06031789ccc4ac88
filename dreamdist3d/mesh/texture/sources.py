"""Where the colours of a texture come from."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import trimesh

from dreamdist3d.mesh.colors import seen_colors
from dreamdist3d.mesh.nearest import nearest_on
from dreamdist3d.mesh.painted import Painted, rgba_on
from dreamdist3d.mesh.sampling import PointFunction

ColorFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Points [N, 3] on a surface and its outward unit normals there -> sRGB in [0, 1], [N, 3], or with opacity [N, 4]."""


def field_colors(look: PointFunction, voxel: float, device: torch.device | str = "cpu") -> ColorFunction:
    """What a viewer sees of a field.

    Args:
        look: [N, 3] world points -> [N, 4], density per world unit and sRGB in [0, 1].
        voxel: edge of the cells that the surface was extracted with, world units.

    Returns:
        A function that raises UserError where the field is not finite.
    """
    return lambda points, normals: seen_colors(points, normals, look, voxel, device)


def mesh_colors(mesh: trimesh.Trimesh | Painted | Sequence[Painted]) -> ColorFunction:
    """The paint of the nearest point of a mesh, or of several together; with opacity where one of them has any."""
    if isinstance(mesh, trimesh.Trimesh):
        parts: Sequence[Painted] = [Painted.of(mesh)]
    else:
        parts = [mesh] if isinstance(mesh, Painted) else mesh
    vertices = np.concatenate([part.vertices for part in parts])
    first_vertex = np.cumsum([0] + [len(part.vertices) for part in parts])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, first_vertex[:-1], strict=True)])

    channels = 3 if all(part.material.alpha_mode == "OPAQUE" for part in parts) else 4

    def color_at(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        found = nearest_on(points, vertices, faces)
        return rgba_on(parts, found.face, found.weights)[:, :channels]

    return color_at
