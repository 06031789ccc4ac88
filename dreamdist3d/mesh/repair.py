"""Triangles from anywhere to a surface that is closed, two-sided and faces outward."""

import numpy as np
import trimesh
from manifold3d import Error, Manifold, Mesh64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dreamdist3d.mesh.components import component_labels, signed_volumes
from dreamdist3d.mesh.fans import split_fans

_LARGEST_HOLE = 0.1
_NO_AREA = 1e-12  # of a part's triangles together, relative to the largest extent squared


def repair(mesh: trimesh.Trimesh, largest_hole: float = _LARGEST_HOLE) -> trimesh.Trimesh:
    """The same surface without what engines stumble over.

    Vertices in one place are welded, empty and repeated triangles dropped, surfaces that meet in one
    edge or vertex taken apart, windings made to agree, holes closed, and all turned outward.

    Args:
        mesh: any triangles; paint is dropped.
        largest_hole: holes up to this long around, as a fraction of the diagonal of the connected part that they are
            in, are closed; larger ones are taken for meant (a cup without a lid, a sheet's own border).

    Returns:
        A new mesh; watertight where its holes were small enough. `metadata["without_area"]` counts the triangles
        of connected parts without area, which are left out.
    """
    vertices, faces = _welded(mesh)
    count = len(faces)
    vertices, faces = _with_area(vertices, faces)
    without_area = count - len(faces)
    closed = _as_solid(vertices, faces)
    if closed is None:
        vertices, faces = _two_sided(vertices, faces)
        vertices, faces = _without_holes(vertices, faces, largest_hole)
        closed = _as_solid(vertices, faces)
    vertices, faces = (vertices, faces) if closed is None else closed
    metadata = {"without_area": without_area}
    return trimesh.Trimesh(vertices, _outward(vertices, faces), process=False, metadata=metadata)


def _welded(mesh: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    vertices, place = np.unique(mesh.vertices.view(np.ndarray), axis=0, return_inverse=True)
    faces = place.reshape(-1)[mesh.faces]
    sides = faces[:, [1, 2, 0]] != faces
    faces = faces[sides.all(axis=1)]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return vertices, faces[np.sort(first)]


def _with_area(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without connected parts whose triangles have no area: nothing of them is seen, and they have no normals.

    Single triangles without area inside a surface stay, for they hold it together.
    """
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if (area > _NO_AREA * np.ptp(vertices, axis=0).max() ** 2).all():
        return vertices, faces
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    labels = component_labels(mesh)
    kept = (np.bincount(labels, weights=area) > _NO_AREA * np.ptp(vertices, axis=0).max() ** 2)[labels]
    used, index = np.unique(faces[kept], return_inverse=True)
    return vertices[used], index.reshape(-1, 3)


def as_manifold(vertices: np.ndarray, faces: np.ndarray) -> Manifold | None:
    """In manifold3d's terms; None when the triangles do not close."""
    solid = Manifold(Mesh64(np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.uint64)))
    return None if solid.status() != Error.NoError or solid.is_empty() else solid


def _as_solid(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Through manifold3d, which pairs the sides of edges where four triangles meet and splits pinched vertices.

    None when the triangles do not close.
    """
    solid = as_manifold(vertices, faces)
    if solid is None:
        return None
    result = solid.to_mesh64()
    return result.vert_properties[:, :3].copy(), result.tri_verts.astype(np.int64)  # theirs is read-only


def _two_sided(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most two triangles an edge, and windings that agree across it."""
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    trimesh.repair.fix_winding(mesh)
    faces, source = split_fans(mesh.faces.view(np.ndarray))
    return vertices[source], faces


def _without_holes(vertices: np.ndarray, faces: np.ndarray, largest_hole: float) -> tuple[np.ndarray, np.ndarray]:
    part, diagonal = _part_diagonals(vertices, faces)
    new_vertices, new_faces = [vertices], [faces]
    count = len(vertices)
    for loop in _border_loops(faces):
        ring = vertices[loop]
        if np.linalg.norm(ring - np.roll(ring, -1, axis=0), axis=1).sum() > largest_hole * diagonal[part[loop[0]]]:
            continue
        if len(loop) == 3:
            new_faces.append(loop[None, ::-1])
            continue
        new_vertices.append(ring.mean(axis=0, keepdims=True))
        new_faces.append(np.stack([np.roll(loop, -1), loop, np.full(len(loop), count)], axis=1))
        count += 1
    return np.concatenate(new_vertices), np.concatenate(new_faces)


def _part_diagonals(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The connected part of each vertex [V], and the diagonal of each part's bounding box [P].

    A sheet's border is longer than its diagonal: closing it would lay a second sheet on the first.
    """
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(sides)), sides.T), shape=(len(vertices), len(vertices)))
    count, part = connected_components(graph, directed=False)
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, part, vertices)
    np.maximum.at(high, part, vertices)
    return part, np.linalg.norm(high - low, axis=1)


def _border_loops(faces: np.ndarray) -> list[np.ndarray]:
    """The vertices around each hole, in the direction of the triangles beside it; no two holes share a vertex."""
    sides = np.concatenate([faces[:, [k, (k + 1) % 3]] for k in range(3)])
    ends = np.sort(sides, axis=1)
    _, which, counts = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    following = dict(sides[counts[which.reshape(-1)] == 1].tolist())
    loops = []
    while following:
        first, vertex = following.popitem()
        loop = [first]
        while vertex != first:
            loop.append(vertex)
            vertex = following.pop(vertex)
        loops.append(np.array(loop))
    return loops


def _outward(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Inner shells may face inward; but each part does when the whole is inside out."""
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    labels = component_labels(mesh)
    volumes = signed_volumes(mesh, labels)
    if volumes.sum() > 0 and mesh.is_winding_consistent:
        return faces
    return np.where((volumes < 0)[labels][:, None], faces[:, ::-1], faces)
