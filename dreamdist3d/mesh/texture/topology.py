"""How the triangles of a mesh hang together where its vertices are split at the borders of charts."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from dreamdist3d.mesh.fans import split_fans


@dataclass(frozen=True, eq=False)
class HalfEdges:
    """The 3 F sides of the triangles, each seen from its own; places are vertices before the splitting."""

    start: np.ndarray  # [3F], vertex
    end: np.ndarray  # [3F], vertex
    twin: np.ndarray  # [3F], the same side seen from the other triangle; itself where there is none
    seam: np.ndarray  # [3F] bool: the two triangles do not share the side's vertices


def half_edges(faces: np.ndarray, place: np.ndarray) -> HalfEdges:
    """Of faces [F, 3] over vertices whose places are [V]."""
    start, end = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    count = len(place)
    key, back = place[start] * count + place[end], place[end] * count + place[start]
    order = np.argsort(key, kind="stable")
    found = np.searchsorted(key[order], back).clip(max=len(key) - 1)
    twin = np.where(key[order[found]] == back, order[found], np.arange(len(key)))
    seam = (start[twin] != end) | (end[twin] != start)
    return HalfEdges(start, end, twin, seam)


def pinched_places(faces: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Places at which triangles meet that do not hang together there: bool [P]."""
    return np.bincount(split_fans(place[faces])[1], minlength=int(place.max()) + 1) > 1


def movable_places(faces: np.ndarray, place: np.ndarray, edges: HalfEdges) -> tuple[np.ndarray, np.ndarray]:
    """Two masks [P]: places inside a chart, and places on a seam of just two charts, or of two sides of one.

    All others hold the seams in place: where three charts meet, where a seam ends, where the surface
    is open.
    """
    count = int(place.max()) + 1
    sound = np.ones(count, dtype=bool)
    open_side = edges.twin == np.arange(len(edges.twin))
    sound[place[edges.start[open_side]]] = sound[place[edges.end[open_side]]] = False
    seams = np.bincount(place[edges.start], weights=edges.seam, minlength=count)
    used = np.zeros(len(place), dtype=bool)
    used[faces] = True
    copies = np.bincount(place[used], minlength=count)
    return sound & (seams == 0) & (copies == 1), sound & (seams == 2) & (copies == 2)


def neighbours(edges: HalfEdges, place: np.ndarray) -> csr_matrix:
    """[P, P], 1 where two places share a side."""
    count = int(place.max()) + 1
    one, two = place[edges.start], place[edges.end]
    graph = csr_matrix(
        (np.ones(2 * len(one), dtype=np.int32), (np.r_[one, two], np.r_[two, one])), shape=(count, count)
    )
    graph.data[:] = 1
    return graph


def faces_around(faces: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces in order of their places: the first row of each place [P + 1] into the corners' numbers [3F]."""
    corners = place[faces].reshape(-1)
    order = np.argsort(corners, kind="stable")
    return np.searchsorted(corners[order], np.arange(int(place.max()) + 2)), order
