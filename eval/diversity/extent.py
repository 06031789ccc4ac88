"""How differently the assets are proportioned."""

from collections.abc import Sequence

import numpy as np
import trimesh


def extents(meshes: Sequence[trimesh.Trimesh]) -> np.ndarray:
    """Width, height and depth of each mesh in radii of its bounding sphere: [A, 3] in [0, 2].

    Raises:
        ValueError: a mesh whose vertices lie in one point.

    Example:
        >>> extents([trimesh.creation.box((4, 0, 0))]).tolist()
        [[2.0, 0.0, 0.0]]
    """
    return np.stack([np.ptp(framed_vertices(mesh), axis=0) for mesh in meshes])


def extent_spread(
    extents: np.ndarray,  # [A, 3]
) -> float:
    r"""Root mean square over the axes of the standard deviation of the extents; 0 for equal proportions.

    .. math:: \sqrt{\tfrac{1}{3} \sum_c \mathrm{Var}_a(e_{ac})}, \quad \text{variance with } A - 1

    Raises:
        ValueError: fewer than two assets.

    Example:
        >>> extent_spread(np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]))
        0.0
    """
    if len(extents) < 2:
        raise ValueError("a spread needs at least two assets")
    return float(np.sqrt(extents.var(axis=0, ddof=1).mean()))


def framed_vertices(mesh: trimesh.Trimesh) -> np.ndarray:
    """Vertices [V, 3] centred on the mesh's bounding box and scaled to a bounding sphere of radius 1.

    Raises:
        ValueError: all vertices lie in one point.

    Example:
        >>> framed_vertices(trimesh.creation.box((2, 0, 0))).max(axis=0).tolist()
        [1.0, 0.0, 0.0]
    """
    vertices = mesh.vertices.view(np.ndarray)
    centred = vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    reach = np.linalg.norm(centred, axis=1).max()
    if not reach > 0:
        raise ValueError("a mesh without extent cannot be framed")
    return centred / reach
