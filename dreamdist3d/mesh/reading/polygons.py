"""Polygons to triangles."""

from collections.abc import Sequence

import numpy as np


def triangulated(
    points: np.ndarray,  # [V, 3]
    sizes: np.ndarray,  # [P], corners of each polygon
    corners: np.ndarray,  # [sum of sizes], into points
) -> tuple[np.ndarray, np.ndarray]:
    """Triangles as numbers of corners, [T, 3] into `corners`, and the polygon of each, [T].

    Convex polygons become fans, others lose their ears one after the other; those of one or two corners vanish.
    """
    starts = np.cumsum(sizes) - sizes
    triangles, owners = [], []
    for size in np.unique(sizes[sizes > 2]):
        rows = (sizes == size).nonzero()[0]
        first = starts[rows, None] + np.arange(size)  # [R, size]
        fan = np.stack([np.zeros(size - 2, int), np.arange(1, size - 1), np.arange(2, size)], axis=1)
        found = first[:, fan]  # [R, size - 2, 3]
        if size > 3:
            bent = ~_is_convex(points[corners[first]])
            if size == 4:
                found[bent] = first[bent][:, [[1, 2, 3], [1, 3, 0]]]  # the other diagonal
            else:
                for row in bent.nonzero()[0]:
                    found[row] = first[row][_ears(points[corners[first[row]]])]
        triangles.append(found.reshape(-1, 3))
        owners.append(np.repeat(rows, size - 2))
    if not triangles:
        return np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
    order = np.argsort(np.concatenate(owners), kind="stable")
    return np.concatenate(triangles)[order], np.concatenate(owners)[order]


def _is_convex(rings: np.ndarray) -> np.ndarray:
    """Whether fans from the first corner of [R, n, 3] fold nowhere: bool [R]."""
    sides = rings[:, 1:] - rings[:, :1]
    normals = np.cross(sides[:, :-1], sides[:, 1:])  # [R, n - 2, 3]
    return (np.einsum("rkj,rj->rk", normals, normals.sum(axis=1)) >= 0).all(axis=1)


def _ears(ring: np.ndarray) -> np.ndarray:
    """[n - 2, 3] triangles of one polygon [n, 3], in the plane that it lies in best (Meisters 1975)."""
    normal = np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0)
    axis = int(np.abs(normal).argmax())
    flat = np.delete(ring, axis, axis=1) * ([1.0, 1.0] if (normal[axis] > 0) == (axis != 1) else [-1.0, 1.0])
    left, ears = list(range(len(ring))), []
    while len(left) > 3:
        cut = next((k for k in range(len(left)) if _is_ear(flat, left, k)), 0)  # tangled: any
        ears.append([left[cut - 1], left[cut], left[(cut + 1) % len(left)]])
        del left[cut]
    return np.array([*ears, left])


def _is_ear(flat: np.ndarray, left: Sequence[int], k: int) -> bool:
    a, b, c = (flat[left[(k + step) % len(left)]] for step in (-1, 0, 1))
    if _turn(a, b, c) <= 0:
        return False
    others = flat[[v for j, v in enumerate(left) if j not in ((k - 1) % len(left), k, (k + 1) % len(left))]]
    inside = (_turn(a, b, others) >= 0) & (_turn(b, c, others) >= 0) & (_turn(c, a, others) >= 0)
    return not inside.any()


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Above 0 where a, b, c turn left."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
