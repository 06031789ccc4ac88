"""The nearest points of a surface."""

from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.spatial import cKDTree

_FIRST_LOOK, _MORE = 8, 4  # triangles looked at for each point, and how many times as many where that was too few
_AT_ONCE = 1 << 18  # pairs of point and triangle, which bounds the memory


@dataclass(frozen=True, eq=False)
class Nearest:
    """What N points found on a mesh."""

    points: np.ndarray  # [N, 3]
    distance: np.ndarray  # [N]
    face: np.ndarray  # [N]
    weights: np.ndarray  # [N, 3], barycentric


def nearest_on(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Nearest:
    """The exact nearest point on the triangles for each of [N, 3] points.

    By the triangles whose middles are nearest. A triangle reaches no farther from its middle than the largest of its
    size does, so it is known when enough were looked at; triangles of like size are searched together, so that a few
    large ones do not widen the search for all.
    """
    points, corners = np.asarray(points, np.float64), np.asarray(vertices, np.float64)[faces]
    middles = corners.mean(axis=1)
    reach = np.linalg.norm(corners - middles[:, None], axis=2).max(axis=1)
    found = _Found(points, corners, reach)
    sizes = np.ceil(np.log2(np.maximum(reach, reach.max() * 2.0**-40)))
    groups = [_Group(middles, (sizes == size).nonzero()[0], reach) for size in np.unique(sizes)]
    for group in groups:  # a first bound from every size, before any of them is searched to the end
        found.look(np.arange(len(points)), group.nearest(points, 0, 1))
    for group in groups:
        _search(found, group)
    closest = found.closest
    return Nearest(closest, found.distance, found.face, _barycentric(closest, corners[found.face]))


class _Group:
    """Triangles of like size."""

    def __init__(self, middles: np.ndarray, members: np.ndarray, reach: np.ndarray) -> None:
        self.members, self.reach = members, reach[members].max()
        self._tree = cKDTree(middles[members])

    def __len__(self) -> int:
        return len(self.members)

    def nearest(self, points: np.ndarray, first: int, last: int) -> "_Candidates":
        """The triangles that are nearest by their middle: of each point the ones from `first` up to `last`."""
        distance, index = self._tree.query(points, k=np.arange(first + 1, last + 1), workers=-1)
        return _Candidates(distance, self.members[index])


@dataclass(frozen=True, eq=False)
class _Candidates:
    distance: np.ndarray  # [R, k], to the middles
    face: np.ndarray  # [R, k]


class _Found:
    """The best so far for every point."""

    def __init__(self, points: np.ndarray, corners: np.ndarray, reach: np.ndarray) -> None:
        self.points, self.corners, self.reach = points, corners, reach
        self.distance = np.full(len(points), np.inf)
        self.closest, self.face = np.zeros_like(points), np.zeros(len(points), np.int64)

    def look(self, rows: np.ndarray, candidates: _Candidates) -> None:
        """Compare points [R] with the triangles [R, k] that may be closer than what they have."""
        may = candidates.distance < self.distance[rows, None] + self.reach[candidates.face]
        which, faces = rows[may.nonzero()[0]], candidates.face[may]
        for start in range(0, len(which), _AT_ONCE):
            self._compare(which[start : start + _AT_ONCE], faces[start : start + _AT_ONCE])

    def _compare(self, rows: np.ndarray, faces: np.ndarray) -> None:
        """Pairs of a point and a triangle, a point's one after the other."""
        on_triangle = trimesh.triangles.closest_point(self.corners[faces], self.points[rows])
        distance = np.linalg.norm(on_triangle - self.points[rows], axis=1)
        order = np.lexsort((distance, rows))
        first = order[np.unique(rows[order], return_index=True)[1]]
        closer = first[distance[first] < self.distance[rows[first]]]
        self.distance[rows[closer]] = distance[closer]
        self.closest[rows[closer]], self.face[rows[closer]] = on_triangle[closer], faces[closer]


def _search(found: _Found, group: _Group) -> None:
    """Let points look at the triangles of a group, nearest middle first, until no other can be closer."""
    rows, looked, count = np.arange(len(found.points)), 0, min(_FIRST_LOOK, len(group))
    while len(rows):
        candidates = group.nearest(found.points[rows], looked, count)
        found.look(rows, candidates)
        rows = rows[candidates.distance[:, -1] < found.distance[rows] + group.reach]
        if count == len(group):
            return
        looked, count = count, min(count * _MORE, len(group))


def _barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """By areas, so that a triangle without area gives finite weights too."""
    sides = [np.cross(corners[:, (k + 1) % 3] - points, corners[:, (k + 2) % 3] - points) for k in range(3)]
    areas = np.stack([np.linalg.norm(side, axis=1) for side in sides], axis=1)
    total = areas.sum(axis=1, keepdims=True)
    return np.where(total > 0, areas / np.where(total > 0, total, 1.0), [1.0, 0.0, 0.0])
