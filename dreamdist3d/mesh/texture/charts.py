"""Box charts: what a mesh falls back to when no better unwrap is to be had."""

import numpy as np
import trimesh
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.texture.raster import overlapping_faces

# Right and up of the picture plane whose normal is +x, -x, +y, -y, +z, -z; right x up = normal, so
# that nothing is mirrored.
_DIRECTIONS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float64)
_RIGHT = np.array([[0, 1, 0], [0, -1, 0], [-1, 0, 0], [1, 0, 0], [1, 0, 0], [-1, 0, 0]], dtype=np.float64)
_UP = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0]], dtype=np.float64)

_SMOOTHINGS = 4
_STEEPEST = 0.3  # the least cosine at which a face may join its neighbours' direction
_STEPS = 24  # of the bisection for the largest scale at which all charts fit


def box_unwrap(
    mesh: trimesh.Trimesh,
    size: int,  # texels along the texture's edge
    padding: int,  # texels between charts
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Project connected regions along the axis that they face, pack them, and cut those that overlap themselves.

    A connected region that faces one way can still wind above itself, as a spiral stair does; cut at
    half its height it comes apart. Single faces end the cutting.

    Returns:
        The source vertex of each vertex [V], faces [F, 3], uv [V, 2].

    Raises:
        UserError: the texture is too small for the number of charts.
    """
    direction = _facing(mesh)
    flat = np.stack([_dots(mesh.triangles, axes[direction]) for axes in (_RIGHT, -_UP)], axis=-1)  # [F, 3, 2]
    height = _dots(mesh.triangles_center[:, None], _DIRECTIONS[direction])[:, 0]
    labels = _connected(direction, mesh.face_adjacency)
    while True:
        source, faces, uv = _layout(mesh, flat, labels, size, padding)
        folded = np.unique(labels[overlapping_faces(uv, faces, size)])
        if not len(folded):
            return source, faces, uv
        labels = _halved(labels, folded, height, mesh.face_adjacency)


def _layout(
    mesh: trimesh.Trimesh, flat: np.ndarray, labels: np.ndarray, size: int, padding: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keys, faces = np.unique(labels[:, None] * len(mesh.vertices) + mesh.faces.view(np.ndarray), return_inverse=True)
    faces = faces.reshape(-1, 3)
    place, chart = np.zeros((len(keys), 2)), keys // len(mesh.vertices)
    place[faces] = flat
    low = np.full((chart.max() + 1, 2), np.inf)
    high = -low
    np.minimum.at(low, chart, place)
    np.maximum.at(high, chart, place)
    corners, scale = pack(high - low, size, padding)
    return keys % len(mesh.vertices), faces, ((place - low[chart]) * scale + corners[chart]) / size


def _facing(mesh: trimesh.Trimesh) -> np.ndarray:
    """One of the six directions for each face; lone faces join their neighbours where their slope allows."""
    cosines = mesh.face_normals @ _DIRECTIONS.T  # [F, 6]
    direction = cosines.argmax(axis=1)
    one, two = mesh.face_adjacency.T
    for _ in range(_SMOOTHINGS):
        votes = np.zeros_like(cosines)
        np.add.at(votes, (one, direction[two]), 1.0)
        np.add.at(votes, (two, direction[one]), 1.0)
        votes[np.arange(len(votes)), direction] += 0.5
        direction = np.where(cosines > _STEEPEST, votes + 0.1 * cosines, cosines - 10.0).argmax(axis=1)
    return direction


def _halved(labels: np.ndarray, folded: np.ndarray, height: np.ndarray, adjacency: np.ndarray) -> np.ndarray:
    """The charts `folded` cut at half the number of their faces, from below."""
    cut = labels * 2
    for label in folded:
        rows = (labels == label).nonzero()[0]
        order = np.argsort(height[rows], kind="stable")
        cut[rows[order[len(rows) // 2 :]]] += 1
    return _connected(cut, adjacency)


def _connected(key: np.ndarray, adjacency: np.ndarray) -> np.ndarray:
    """Connected regions of faces with equal keys, numbered from 0."""
    same = adjacency[key[adjacency[:, 0]] == key[adjacency[:, 1]]]
    graph = coo_matrix((np.ones(len(same)), same.T), shape=(len(key), len(key)))
    return connected_components(graph, directed=False)[1]


def _dots(points: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.einsum("fij,fj->fi", points, axes)


def pack(extents: np.ndarray, size: int, padding: int) -> tuple[np.ndarray, float]:
    """Place charts' bounding boxes on shelves inside a square of `size` texels, as large as they fit.

    Args:
        extents: [C, 2] widths and heights, in any unit.
        size: edge of the square.
        padding: texels between two charts; less when they do not fit otherwise.

    Returns:
        Lower corners [C, 2] in texels, and texels per unit, one scale for all charts.

    Raises:
        UserError: there are more charts than the square could hold at a texel each.
    """
    gap = padding
    while (found := _largest(extents, size, gap)) is None:
        if not gap:
            raise UserError(
                f"a texture of {size} x {size} is too small for {len(extents)} charts: "
                "choose a larger size or fewer triangles."
            )
        gap //= 2
    return found


def _largest(extents: np.ndarray, size: int, gap: int) -> tuple[np.ndarray, float] | None:
    """By bisection over the scale."""
    low, high, best = 0.0, size / max(float(extents.max()), 1e-12), None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        corners = _shelves(np.ceil(extents * middle).clip(1) + gap, size, gap)
        if corners is None:
            high = middle
        else:
            low, best = middle, (corners, middle)
    return best


def _shelves(boxes: np.ndarray, size: int, gap: int) -> np.ndarray | None:
    """Lower corners of integer boxes (gap included), tallest first, row after row; None when they do not fit."""
    corners = np.zeros_like(boxes)
    x, y, shelf = float(gap), float(gap), 0.0
    for chart in np.argsort(-boxes[:, 1], kind="stable"):
        width, height = boxes[chart]
        if x + width > size:
            x, y, shelf = float(gap), y + shelf, 0.0
        if x + width > size or y + height > size:
            return None
        corners[chart] = x, y
        x, shelf = x + width, max(shelf, height)
    return corners
