"""Fewer triangles that keep their texture: edges collapsed along seams, never across them."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from dreamdist3d.mesh.fans import split_fans

_CHEAPEST = 0.3  # of the places, those whose removal costs least are looked at in a round
_PASSES = 4  # each finds the best of those that the ones before left alone
_BLUNTEST = 0.3  # the least cosine by which a triangle may turn in one collapse
_SEAM_WEIGHT = 4.0  # of a seam's course against the surface's


@dataclass(frozen=True, eq=False)
class HalfEdges:
    """The 3 F sides of the triangles, each seen from its own; places are vertices before the splitting."""

    start: np.ndarray  # [3F], vertex
    end: np.ndarray  # [3F], vertex
    twin: np.ndarray  # [3F], the same side seen from the other triangle; itself where there is none
    seam: np.ndarray  # [3F] bool: the two triangles do not share the side's vertices


class Collapser:
    """A mesh that loses vertices, the cheapest first, to their neighbours.

    A vertex inside a chart moves onto any neighbour, one on a seam onto the next along it, on both
    sides at once: each triangle keeps to its chart and each vertex its texture coordinate, and what
    was closed stays so. The cost is the quadric error (Garland and Heckbert 1997), with a plane
    upright on every seam that holds its course.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray) -> None:
        """Vertices [V, 3] split at seams, faces [F, 3], uv [V, 2]."""
        self.faces = faces
        self._uv = uv
        points, place = np.unique(vertices, axis=0, return_inverse=True)
        self._points = (points - points.mean(axis=0)) / max(float(np.ptp(points, axis=0).max()), 1e-12)
        self._place = place.reshape(-1)
        self._fixed = pinched_places(faces, self._place)
        edges = half_edges(faces, self._place)
        seams = edges.seam.nonzero()[0]
        ends = np.stack([self._place[edges.start[seams]], self._place[edges.end[seams]]], axis=1)
        self._quadrics = vertex_quadrics(self._points, self._place[faces], ends, seams // 3)

    def reduce(self, target: int) -> None:
        """Collapse until there are no more than `target` faces, or nothing can be collapsed."""
        while len(self.faces) > target and self._round((len(self.faces) - target + 1) // 2):
            pass

    def _round(self, most: int) -> int:
        """Collapse up to `most` edges that do not touch each other; how many it were."""
        edges = half_edges(self.faces, self._place)
        inner, seam = movable_places(self.faces, self._place, edges)
        one, two = self._place[edges.start], self._place[edges.end]
        candidates = (~self._fixed[one] & (inner[one] | (seam[one] & edges.seam))).nonzero()[0]
        costs = self._costs(one[candidates], two[candidates])
        for share in (_CHEAPEST, 1.0):
            cheap = np.argsort(costs, kind="stable")[: int(np.ceil(share * len(costs)))]
            ordered = candidates[cheap]
            chosen = self._apart(ordered[self._valid(ordered, edges)], edges)[:most]
            if len(chosen):
                self._apply(chosen, edges)
                return len(chosen)
        return 0

    def _costs(self, moved: np.ndarray, onto: np.ndarray) -> np.ndarray:
        errors = quadric_errors(self._quadrics[moved] + self._quadrics[onto], self._points[onto])
        length = ((self._points[moved] - self._points[onto]) ** 2).sum(axis=1)
        return errors + 1e-9 * length  # where all is flat, short edges first

    def _valid(self, candidates: np.ndarray, edges: HalfEdges) -> np.ndarray:
        """Which collapses keep the surface a surface, and fold it neither in space nor in the texture: bool [C]."""
        one, two = self._place[edges.start[candidates]], self._place[edges.end[candidates]]
        near = neighbours(edges, self._place)
        linked = np.asarray(near[one].multiply(near[two]).sum(axis=1)).reshape(-1) == 2
        owner, before, after = self._moved_triangles(candidates, edges)
        gone = (self._place[before] == two[owner, None]).any(axis=1)
        folded = ~gone & (self._turns(before, after) | self._flips(before, after))
        return linked & (np.bincount(owner, weights=folded, minlength=len(candidates)) == 0)

    def _moved_triangles(self, candidates: np.ndarray, edges: HalfEdges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The candidate of each triangle that would change, [N], and its vertices before and after, [N, 3]."""
        first, corners = faces_around(self.faces, self._place)
        one = self._place[edges.start[candidates]]
        counts = first[one + 1] - first[one]
        owner = np.repeat(np.arange(len(candidates)), counts)
        rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        face, k = np.divmod(corners[first[one[owner]] + rank], 3)
        before = self.faces[face]
        this, twin = candidates[owner], edges.twin[candidates[owner]]
        on_this_side = before[np.arange(len(face)), k] == edges.start[this]
        after = before.copy()
        after[np.arange(len(face)), k] = np.where(on_this_side, edges.end[this], edges.start[twin])
        return owner, before, after

    def _turns(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        was, now = (unit_or_zero(_normals(self._points[self._place[faces]])) for faces in (before, after))
        return np.einsum("nj,nj->n", was, now) < _BLUNTEST

    def _flips(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        was, now = (_flat_areas(self._uv[faces]) for faces in (before, after))
        return was * now <= 0

    def _apart(self, candidates: np.ndarray, edges: HalfEdges) -> np.ndarray:
        """Of candidates, best first, as many as do not change what another was judged by; best first."""
        one = self._place[edges.start[candidates]]
        sides = self._place[edges.start], self._place[edges.end]
        chosen, free = np.zeros(len(candidates), dtype=bool), np.ones(len(self._points), dtype=bool)
        for _ in range(_PASSES):
            rows = free[one].nonzero()[0]
            rank = np.full(len(self._points), len(candidates))
            np.minimum.at(rank, one[rows], rows)
            best = rows[_least_around(rank, sides)[one[rows]] == rows]
            chosen[best] = True
            taken = np.zeros(len(self._points), dtype=np.int64)
            taken[one[best]] = -1
            free &= _least_around(taken, sides) == 0
        return candidates[chosen]

    def _apply(self, chosen: np.ndarray, edges: HalfEdges) -> None:
        goes = np.arange(len(self._place))
        twin = edges.twin[chosen]
        goes[edges.end[twin]] = edges.start[twin]
        goes[edges.start[chosen]] = edges.end[chosen]
        one, two = self._place[edges.start[chosen]], self._place[edges.end[chosen]]
        np.add.at(self._quadrics, two, self._quadrics[one])
        faces = goes[self.faces]
        places = self._place[faces]
        self.faces = faces[(places != places[:, [1, 2, 0]]).all(axis=1)]


def _least_around(values: np.ndarray, sides: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The least of each place's own value and those up to two sides away."""
    for _ in range(2):
        least = values.copy()
        np.minimum.at(least, sides[0], values[sides[1]])
        np.minimum.at(least, sides[1], values[sides[0]])
        values = least
    return values


def _normals(corners: np.ndarray) -> np.ndarray:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _flat_areas(corners: np.ndarray) -> np.ndarray:
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]


def vertex_quadrics(
    points: np.ndarray,  # [P, 3]
    corners: np.ndarray,  # [F, 3], into points
    seams: np.ndarray,  # [S, 2], into points; the ends of the sides that are seams
    beside: np.ndarray,  # [S], the face at each
) -> np.ndarray:
    """[P, 4, 4]: of the planes around each place, weighted by area, and of planes upright on its seams."""
    triangles = points[corners]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    result = np.zeros((len(points), 4, 4))
    for k in range(3):
        np.add.at(result, corners[:, k], _planes(normals, triangles[:, 0], np.linalg.norm(normals, axis=1)))
    along = points[seams[:, 1]] - points[seams[:, 0]]
    upright = np.cross(along, unit_or_zero(normals[beside]))
    planes = _planes(upright, points[seams[:, 0]], _SEAM_WEIGHT * (along**2).sum(axis=1))
    for k in range(2):
        np.add.at(result, seams[:, k], planes)
    return result


def quadric_errors(quadrics: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Of quadrics [N, 4, 4] at points [N, 3]: [N], >= 0."""
    there = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    return np.maximum(((quadrics @ there[:, :, None])[:, :, 0] * there).sum(axis=1), 0.0)


def unit_or_zero(vectors: np.ndarray) -> np.ndarray:
    """[N, 3] at length 1; those without length stay 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)


def _planes(normals: np.ndarray, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    direction = unit_or_zero(normals)
    plane = np.concatenate([direction, -np.einsum("nj,nj->n", direction, points)[:, None]], axis=1)
    return weights[:, None, None] * plane[:, :, None] * plane[:, None, :]


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
