"""Triangles that lie on others in the texture, moved to where there is room."""

import numpy as np
from scipy.ndimage import distance_transform_cdt

from dreamdist3d.mesh.texture.raster import covered_texels, rasterise, shared_texels

_MOST = 64  # more than this many are no slip of the unwrapper


def untangle(
    source: np.ndarray,  # [V], the vertex of the unsplit mesh
    faces: np.ndarray,  # [F, 3]
    uv: np.ndarray,  # [V, 2]
    size: int,
    padding: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Make charts of their own of as few triangles as it takes to leave no texel covered twice.

    xatlas lets a chart touch itself now and then, by two or three triangles of thousands.

    Returns:
        The three arrays, with the vertices of moved triangles doubled; None when there are too many
        such triangles, or no room for them.
    """
    moved = _few_to_move(faces, uv, size)
    if len(moved) > _MOST:
        return None
    source, faces, uv = source.copy(), faces.copy(), uv.copy()
    for face in moved:
        corners = uv[faces[face]]
        others = np.delete(faces, face, axis=0)
        place = _room(covered_texels(uv, others, size).mask(size), np.ptp(corners, axis=0).max() * size, padding)
        if place is None:
            return None
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
        source, uv = (
            np.concatenate([source, source[faces[face]]]),
            np.concatenate([uv, corners - middle + place / size]),
        )
        faces[face] = np.arange(len(uv) - 3, len(uv))
    return source, faces, uv


def _few_to_move(faces: np.ndarray, uv: np.ndarray, size: int) -> list[int]:
    """Greedily: again and again the triangle that shares the most texels."""
    hits, moved = rasterise(uv, faces, size, inset=1e-4), []
    while len(moved) <= _MOST and (shared := shared_texels(hits)).any():
        moved.append(int(np.bincount(hits.face[shared]).argmax()))
        hits = hits.where(hits.face != moved[-1])
    return moved


def _room(taken: np.ndarray, extent: float, padding: int) -> np.ndarray | None:
    """The middle (x, y), in texels, of the widest gap, if something `extent` texels wide fits in with its padding."""
    free = distance_transform_cdt(np.pad(~taken, 1), metric="chessboard")[1:-1, 1:-1]
    row, column = np.unravel_index(free.argmax(), free.shape)
    return np.array([column + 0.5, row + 0.5]) if free[row, column] > extent / 2 + padding + 1 else None
