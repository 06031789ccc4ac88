"""Which triangle covers which texel, in plain numpy, and where that lies in space."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import distance_transform_edt

# (triangle, texel) pairs looked at together: bounds the memory at a few hundred megabytes.
_PAIRS = 1 << 20


@dataclass(frozen=True, eq=False)
class Texels:
    """N texels of a square texture, and the triangle whose plane each lies in."""

    index: np.ndarray  # [N] int64, row * size + column
    face: np.ndarray  # [N] int64
    weights: np.ndarray  # [N, 3], barycentric; below 0 where the texel lies outside its triangle

    def where(self, keep: np.ndarray | slice) -> "Texels":
        """Some of them, by mask, number or slice."""
        return Texels(self.index[keep], self.face[keep], self.weights[keep])

    def interpolate(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Values at vertices, [V, C] -> values at the texels, [N, C]."""
        return sum(self.weights[:, k, None] * values[faces[self.face, k]] for k in range(3))

    def mask(self, size: int) -> np.ndarray:
        """Their places as bool [size, size]."""
        flat = np.zeros(size * size, dtype=bool)
        flat[self.index] = True
        return flat.reshape(size, size)


def rasterise(
    uv: np.ndarray,  # [V, 2] in [0, 1], v down
    faces: np.ndarray,  # [F, 3]
    size: int,
    inset: float = -1e-9,
) -> Texels:
    """Every pair of a texel and a triangle in which the triangle covers the texel's centre.

    Args:
        inset: the least barycentric weight that counts as covered; above 0 leaves the triangle's edges out.
    """
    corners = uv[faces] * size - 0.5  # [F, 3, 2]; texel centres are the integers
    parts = [_cover(corners, chunk, size, inset) for chunk in _chunks(corners, size)]
    if not parts:
        return Texels(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)))
    return Texels(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def covered_texels(uv: np.ndarray, faces: np.ndarray, size: int) -> Texels:
    """The texels whose centres lie in the mesh, once each."""
    texels = rasterise(uv, faces, size)
    return texels.where(np.unique(texels.index, return_index=True)[1])


def with_rim(covered: Texels, uv: np.ndarray, faces: np.ndarray, size: int, reach: float) -> Texels:
    """`covered`, and after them the texels within `reach` of them, in the planes of their nearest covered ones.

    Bilinear reads at the border of a chart mix these in.
    """
    inside = covered.mask(size)
    distance, nearest = distance_transform_edt(~inside, return_indices=True)
    row, column = ((distance > 0) & (distance <= reach)).nonzero()
    owner = np.zeros(size * size, dtype=np.int64)
    owner[covered.index] = covered.face
    face = owner[nearest[0][row, column] * size + nearest[1][row, column]]
    corners = uv[faces[face]] * size - 0.5
    weights = np.einsum("nkc,nc->nk", _planes(corners), np.stack([column, row, np.ones(len(row))], axis=1))
    parts = (covered.index, row * size + column), (covered.face, face), (covered.weights, weights)
    return Texels(*(np.concatenate(part) for part in parts))


def shared_texels(hits: Texels) -> np.ndarray:
    """Which of them are the texel of another too: bool [N]."""
    return np.bincount(hits.index, minlength=1)[hits.index] > 1


def overlapping_faces(uv: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """The faces that share a texel's centre with another, strictly inside both: [N], none for a proper unwrap."""
    hits = rasterise(uv, faces, size, inset=1e-4)
    return np.unique(hits.face[shared_texels(hits)])


def _bounds(corners: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    low = np.ceil(corners.min(axis=1) - 1e-9).clip(0, size).astype(np.int64)
    high = np.floor(corners.max(axis=1) + 1e-9).clip(-1, size - 1).astype(np.int64)
    return low, np.maximum(high - low + 1, 0)


def _chunks(corners: np.ndarray, size: int) -> Iterator[np.ndarray]:
    pairs = _bounds(corners, size)[1].prod(axis=1)
    some = pairs.nonzero()[0]
    yield from np.split(some, np.diff(np.cumsum(pairs[some]) // _PAIRS).nonzero()[0] + 1) if len(some) else ()


def _cover(corners: np.ndarray, rows: np.ndarray, size: int, inset: float) -> tuple[np.ndarray, ...]:
    low, extent = _bounds(corners[rows], size)
    counts = extent.prod(axis=1)
    owner = np.repeat(np.arange(len(rows)), counts)
    rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    x, y = low[owner, 0] + rank % extent[owner, 0], low[owner, 1] + rank // extent[owner, 0]
    planes = _planes(corners[rows])
    weights = np.stack([planes[owner, k, 0] * x + planes[owner, k, 1] * y + planes[owner, k, 2] for k in range(3)])
    inside = (weights >= inset).all(axis=0)
    return (y * size + x)[inside], rows[owner[inside]], weights[:, inside].T


def _planes(corners: np.ndarray) -> np.ndarray:
    """Barycentric weights as planes over (x, y, 1): [F, 2D corner 3, 2] -> [F, weight 3, 3].

    Triangles without area get weights that cover nothing.
    """
    one, two, three = corners[:, 0], corners[:, 1], corners[:, 2]
    area = _cross(two - one, three - one)
    safe = np.where(area == 0, 1.0, area)
    planes = []
    for start, end in ((two, three), (three, one), (one, two)):
        along = end - start
        planes.append(np.stack([-along[:, 1], along[:, 0], -_cross(along, start)], axis=1) / safe[:, None])
    result = np.stack(planes, axis=1)
    result[area == 0] = (0.0, 0.0, -1.0)
    return result


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


@dataclass(frozen=True, eq=False)
class Layout:
    """Triangles whose vertices are split at the borders of charts, and the texture's size."""

    vertices: np.ndarray  # [V, 3]
    faces: np.ndarray  # [F, 3]
    normals: np.ndarray  # [V, 3]
    uv: np.ndarray  # [V, 2] in [0, 1], v down
    size: int

    def points(self, texels: Texels) -> np.ndarray:
        """Where each texel's centre lies on its triangle: [N, 3]."""
        return texels.interpolate(self.vertices, self.faces)

    def steps(self, texels: Texels, offset: tuple[float, float]) -> np.ndarray:
        """How far a move by `offset` texels, to the right and down, goes on each texel's triangle: [N, 3]."""
        return (offset[0] * self._steps[:, 0] + offset[1] * self._steps[:, 1])[texels.face]

    @cached_property
    def _steps(self) -> np.ndarray:
        """[F, 2, 3]: how far a texel to the right, and one down, goes on each triangle; 0 on those without area."""
        corners, texel = self.vertices[self.faces], self.uv[self.faces] * self.size
        sides, flat = corners[:, 1:] - corners[:, :1], texel[:, 1:] - texel[:, :1]  # [F, 2, 3], [F, 2, 2]
        area = flat[:, 0, 0] * flat[:, 1, 1] - flat[:, 0, 1] * flat[:, 1, 0]
        inverse = np.stack(
            [
                np.stack([flat[:, 1, 1], -flat[:, 0, 1]], axis=1),
                np.stack([-flat[:, 1, 0], flat[:, 0, 0]], axis=1),
            ],
            axis=1,
        )
        inverse /= np.where(area == 0, np.inf, area)[:, None, None]
        return inverse @ sides


def unit(vectors: np.ndarray) -> np.ndarray:
    """[N, 3] at length 1; those without length stay 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 1e-12, length, np.inf)


def dilate(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give every texel outside `mask` [T, T] the value of the nearest one inside; image is [T, T] or [T, T, C].

    The whole gap is filled, not a rim of it: every mip level then mixes a chart's border with its own
    colours as long as the charts are apart at that level.
    """
    if not mask.any():
        return image
    rows, columns = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return image[rows, columns]
