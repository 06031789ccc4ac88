"""The places of a surface in full detail that the texels of a simplified one depict."""

import numpy as np
import trimesh

from dreamdist3d.mesh.nearest import nearest_on
from dreamdist3d.mesh.texture.embree import UnitScene
from dreamdist3d.mesh.texture.layout import unit

_REACH = 5e-3  # how far rays look, in bounding box diagonals


def depicted_places(
    surface: trimesh.Trimesh,
    points: np.ndarray,  # [N, 3]
    normals: np.ndarray,  # [N, 3], unit
) -> tuple[np.ndarray, np.ndarray]:
    """The places on a surface in full detail, [N, 3], and its smooth unit normals there, [N, 3].

    They lie straight over or under the points, along `normals`, as texture bakers have it; where a ray meets
    nothing close by that faces the same way, the nearest place is taken. Where that faces away from `normals` too, as
    behind a plate thinner than the simplification is exact, point and normal stay.
    """
    face, weights = _along(surface, points, normals)
    lost = (face < 0).nonzero()[0]
    if len(lost):
        found = nearest_on(points[lost], surface.vertices, surface.faces)
        face[lost], weights[lost] = found.face, found.weights
    corners = surface.faces.view(np.ndarray)[face]
    places = np.einsum("nk,nkj->nj", weights, surface.vertices.view(np.ndarray)[corners])
    smooth = unit(np.einsum("nk,nkj->nj", weights, surface.vertex_normals[corners]))
    facing = np.einsum("nj,nj->n", surface.face_normals[face], normals) > 0
    kept = (facing & smooth.any(axis=1))[:, None]
    return np.where(kept, places, points), np.where(kept, smooth, normals)


def _along(surface: trimesh.Trimesh, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What rays from the points, forth and back, meet first: faces [N], -1 for nothing, and weights [N, 3]."""
    scene = UnitScene(surface)
    origins, nearest = scene.place(points), np.full(len(points), _REACH, dtype=np.float32)
    face, weights = np.full(len(points), -1), np.zeros((len(points), 3))
    for sign in (1.0, -1.0):
        met = scene.first(origins, (sign * normals).astype(np.float32), nearest)
        rows = (met.face >= 0).nonzero()[0]
        rows = rows[np.einsum("nj,nj->n", surface.face_normals[met.face[rows]], normals[rows]) > 0]
        face[rows], nearest[rows] = met.face[rows], met.distance[rows]
        weights[rows] = met.weights[rows]
    return face, weights
