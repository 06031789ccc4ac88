"""How much of the sky each texel sees."""

import numpy as np
import trimesh
from scipy.ndimage import uniform_filter

from dreamdist3d.mesh.texture.embree import UnitScene
from dreamdist3d.mesh.texture.raster import Texels

_TILE = 4  # texels of a tile of 4 x 4 cast different rays, and share them
_RAYS = 8  # of each texel
_WINDOW = 4  # texels over which they are shared: one tile, wherever it begins
_LIFT = 2e-3  # where a ray starts above the surface, in bounding box diagonals


def bake_occlusion(
    texels: Texels,
    points: np.ndarray,  # [N, 3] on the surface
    normals: np.ndarray,  # [N, 3] unit, outward
    surface: trimesh.Trimesh,
    size: int,
) -> np.ndarray:
    """Cosine-weighted share of the sky that rays from the texels reach, as uint8 [N]; 255 is all of it.

    Each texel casts 8 rays of one fixed set of 128, of which every tile of 4 x 4 texels casts all; the
    mean over a window of 4 x 4 then evens them out (interleaved sampling, Keller and Heidrich 2001).
    """
    scene = UnitScene(surface)
    origins = scene.place(points + normals * (_LIFT * surface.scale))
    rays = _hemisphere(_TILE * _TILE * _RAYS).reshape(_RAYS, _TILE * _TILE, 3)
    row, column = np.divmod(texels.index, size)
    tile = (row % _TILE) * _TILE + column % _TILE
    one, two = _frames(normals)
    free = np.zeros(len(points), dtype=np.float32)
    for set_of_tile in rays:
        ray = set_of_tile[tile]
        directions = one * ray[:, :1] + two * ray[:, 1:2] + normals * ray[:, 2:]
        free += scene.free(origins, directions.astype(np.float32))
    return np.round(255.0 * _shared(free / _RAYS, texels, size)).astype(np.uint8)


def _hemisphere(count: int) -> np.ndarray:
    """[count, 3] cosine-weighted directions around +z: a Hammersley set, in bit-reversed order."""
    index = np.arange(count)
    bits = int(count).bit_length() - 1
    turned = sum(((index >> bit) & 1) << (bits - 1 - bit) for bit in range(bits))
    height, angle = (index + 0.5) / count, 2.0 * np.pi * (turned + 0.5) / count
    radius = np.sqrt(height)
    rays = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1.0 - height)], axis=1)
    return rays[np.argsort(turned)]


def _frames(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors [N, 3] across each normal (Duff et al. 2017)."""
    x, y, z = normals.T
    sign = np.where(z < 0, -1.0, 1.0)
    a = -1.0 / (sign + z)
    b = x * y * a
    return np.stack([1.0 + sign * x * x * a, sign * b, -sign * x], axis=1), np.stack([b, sign + y * y * a, -y], axis=1)


def _shared(values: np.ndarray, texels: Texels, size: int) -> np.ndarray:
    """The mean of the texels around each, of those that are there."""
    total, there = np.zeros(size * size, dtype=np.float32), texels.mask(size).astype(np.float32)
    total[texels.index] = values
    means = uniform_filter(total.reshape(size, size), _WINDOW) / np.maximum(uniform_filter(there, _WINDOW), 1e-6)
    return means.reshape(-1)[texels.index].clip(0.0, 1.0)
