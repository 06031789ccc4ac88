"""Hard and smooth edges: vertices split where the shading breaks, each with the normal that it is lit by."""

from collections.abc import Sequence

import numpy as np
import trimesh
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.texture.bake import depicted_places

CREASE_DEG = 30.0  # of files that bring no normals
_SAME_DEG = 3.0  # normals of one vertex that differ by less are one normal, written twice
_SAME_PLACE = 1e-6  # how far a triangle may have moved to be known again, relative to the extent
_INSET = 0.1  # how far from a corner, toward the triangle's middle, the shading of another surface is read


def by_crease(mesh: trimesh.Trimesh, crease_deg: float) -> trimesh.Trimesh:
    """The mesh with edges hard where its triangles meet at more than `crease_deg`, smooth elsewhere."""
    flat = np.repeat(mesh.face_normals[:, None], 3, axis=1)
    return _split(mesh, flat, crease_deg)


def by_source(mesh: trimesh.Trimesh, parts: Sequence[Painted], crease_deg: float) -> trimesh.Trimesh:
    """The mesh lit by the normals of the parts that it was made of; by their crease where they have none.

    Args:
        mesh: made of the parts' triangles, some of which may be turned, gone or new.
        parts: in the mesh's axes.
    """
    creased = by_crease(mesh, crease_deg)
    corners = creased.vertex_normals[creased.faces]
    found = _source_normals(mesh, parts)
    known = np.isfinite(found).all(axis=2)
    corners[known] = found[known]
    return _split(mesh, corners, _SAME_DEG)


def carried_over(mesh: trimesh.Trimesh, shaded: trimesh.Trimesh, crease_deg: float) -> trimesh.Trimesh:
    """A simplified mesh, lit as the surface is that it stands for: hard where that is, smooth where that is."""
    corners = mesh.triangles
    inner = (corners + _INSET * (corners.mean(axis=1, keepdims=True) - corners)).reshape(-1, 3)
    _, normals = depicted_places(shaded, inner, np.repeat(mesh.face_normals, 3, axis=0))
    return _split(mesh, normals.reshape(-1, 3, 3), crease_deg)


def _source_normals(mesh: trimesh.Trimesh, parts: Sequence[Painted]) -> np.ndarray:
    """[F, 3, 3] of the source's triangles that lie where the mesh's do; NaN where there is none with normals."""
    triangles = np.concatenate([part.vertices[part.faces] for part in parts])
    normals = np.concatenate([_corner_normals(part) for part in parts])
    corners = mesh.triangles
    reach = _SAME_PLACE * float(mesh.extents.max())
    distance, row = cKDTree(triangles.mean(axis=1)).query(corners.mean(axis=1), workers=-1)
    place = np.linalg.norm(corners[:, :, None] - triangles[row][:, None], axis=3)  # [F, own corner, its corner]
    nearest = place.argmin(axis=2)
    same = (distance < reach) & (place.min(axis=2) < reach).all(axis=1)
    found = np.take_along_axis(normals[row], nearest[:, :, None], axis=1)
    # Repair turns triangles; their normals turn with them. What then still faces away is no normal of this surface.
    with np.errstate(invalid="ignore"):
        turned = np.einsum("fkj,fj->fk", found, mesh.face_normals)
        found = found * np.where(np.median(turned, axis=1) < 0, -1.0, 1.0)[:, None, None]
        wrong = ~same[:, None] | (np.einsum("fkj,fj->fk", found, mesh.face_normals) <= 0)
    found[wrong] = np.nan
    return found


def _corner_normals(part: Painted) -> np.ndarray:
    if part.normals is None:
        return np.full((len(part.faces), 3, 3), np.nan)
    length = np.linalg.norm(part.normals, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (part.normals / np.where(length > 1e-12, length, np.nan))[part.faces]


def _split(mesh: trimesh.Trimesh, corners: np.ndarray, most_deg: float) -> trimesh.Trimesh:
    """Corners [F, 3, 3] of one vertex stay together across edges at whose ends their normals differ by no more."""
    faces = mesh.faces.view(np.ndarray)
    start, end = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    key, back = start * len(mesh.vertices) + end, end * len(mesh.vertices) + start
    order = np.argsort(key, kind="stable")
    twin = order[np.searchsorted(key[order], back).clip(max=len(key) - 1)]
    pairs = np.stack([np.arange(len(key)), twin], axis=1)[key[twin] == back]
    one, two = pairs.T
    # Side h runs from corner h to the next of its triangle; its twin runs back.
    meeting = np.concatenate([np.stack([one, _next(two)], axis=1), np.stack([_next(one), two], axis=1)])
    normals = corners.reshape(-1, 3)
    cosine = np.einsum("nj,nj->n", normals[meeting[:, 0]], normals[meeting[:, 1]])
    together = meeting[cosine >= np.cos(np.deg2rad(most_deg)) - 1e-9]
    graph = coo_matrix((np.ones(len(together)), together.T), shape=(len(start), len(start)))
    count, group = connected_components(graph, directed=False)
    source = np.empty(count, np.int64)
    source[group] = start
    total = np.zeros((count, 3))
    np.add.at(total, group, normals * mesh.face_angles.reshape(-1, 1))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    smooth = np.where(length > 1e-9, total / np.maximum(length, 1e-9), mesh.vertex_normals[source])
    return trimesh.Trimesh(
        mesh.vertices.view(np.ndarray)[source], group.reshape(-1, 3), vertex_normals=smooth, process=False
    )


def _next(corner: np.ndarray) -> np.ndarray:
    return np.where(corner % 3 == 2, corner - 2, corner + 1)
