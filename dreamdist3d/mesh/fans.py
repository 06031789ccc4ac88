"""Triangles sorted into fans: what hangs together around each vertex."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


def split_fans(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give every fan of triangles a vertex of its own.

    Surfaces that meet in one vertex or edge come apart: around each vertex, triangles hang together
    across edges that two of them share in opposite directions. Where more than two share an edge, those
    two stay together that are of one surface elsewhere.

    Args:
        faces: [F, 3]

    Returns:
        The faces over new vertices, [F, 3], and the old vertex of each new one, [V'].
    """
    start, end = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    edge = np.unique(np.sort(np.stack([start, end], axis=1), axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    pairs = _opposite_pairs(edge, start)
    surface = _connected(pairs // 3, len(faces))
    pairs = _opposite_pairs(edge * len(faces) + np.repeat(surface, 3), start)
    # Side h runs from corner h to the next corner of its triangle; the other side of a pair runs back.
    one, two = pairs.T
    joined = np.concatenate([np.stack([one, _next(two)], axis=1), np.stack([_next(one), two], axis=1)])
    corners = _connected(joined, len(start))
    source = np.empty(corners.max() + 1, dtype=np.int64)
    source[corners] = start
    return corners.reshape(-1, 3), source


def _opposite_pairs(key: np.ndarray, start: np.ndarray) -> np.ndarray:
    """[N, 2] sides that alone have their key, and begin at different vertices."""
    order = np.argsort(key, kind="stable")
    first = np.r_[True, key[order][1:] != key[order][:-1]].nonzero()[0]
    first = first[np.diff(np.r_[first, len(key)]) == 2]
    pairs = np.stack([order[first], order[first + 1]], axis=1)
    return pairs[start[pairs[:, 0]] != start[pairs[:, 1]]]


def _next(corner: np.ndarray) -> np.ndarray:
    return np.where(corner % 3 == 2, corner - 2, corner + 1)


def _connected(pairs: np.ndarray, count: int) -> np.ndarray:
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count))
    return connected_components(graph, directed=False)[1]
