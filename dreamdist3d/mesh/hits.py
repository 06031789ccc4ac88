"""Which triangle each pixel's centre ray meets first."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import trimesh

from dreamdist3d.choices import Renderer
from dreamdist3d.errors import UserError
from dreamdist3d.lift.cameras import Cameras, rays

_STEP = 1e-5  # behind a surface, in bounding box diagonals, where a ray goes on
_Finder = Callable[[trimesh.Trimesh, Cameras, int], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Hits:
    """The N pixels, of all cameras' together, that see the mesh."""

    pixel: np.ndarray  # [N], into B * size * size
    triangle: np.ndarray  # [N], into the faces
    weights: np.ndarray  # [N, 3], barycentric

    def points(self, mesh: trimesh.Trimesh) -> np.ndarray:
        """Where on the mesh: [N, 3]."""
        return np.einsum("nc,ncj->nj", self.weights, mesh.triangles[self.triangle])

    def where(self, keep: np.ndarray) -> "Hits":
        """Some of them, by mask."""
        return Hits(self.pixel[keep], self.triangle[keep], self.weights[keep])


def find_hits(mesh: trimesh.Trimesh, cameras: Cameras, size: int, renderer: Renderer = "embree") -> Hits:
    """One ray a pixel of B pictures [size, size].

    Raises:
        UserError: pytorch3d is asked for and not installed.
    """
    return Hits(*_finder(renderer)(mesh, cameras, size))


def hits_behind(mesh: trimesh.Trimesh, cameras: Cameras, size: int, hits: Hits) -> Hits:
    """What the rays of some pixels meet next, by embree."""
    directions = rays(cameras, size, size)[1].reshape(-1, 3).numpy()[hits.pixel]
    origins = hits.points(mesh) + directions * (_STEP * mesh.scale)
    row, triangle, weights = _first(mesh, origins, directions)
    return Hits(hits.pixel[row], triangle, weights)


def require_renderer(renderer: Renderer) -> None:
    """Raise a UserError unless the renderer is installed."""
    _finder(renderer)


def _finder(renderer: Renderer) -> _Finder:
    if renderer == "embree":
        return _embree
    try:
        from dreamdist3d.mesh.hits_pytorch3d import rasterize
    except ImportError as error:
        raise UserError(f"--renderer pytorch3d: {error}; install pytorch3d or use --renderer embree.") from error
    return rasterize


def _embree(mesh: trimesh.Trimesh, cameras: Cameras, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _first(mesh, *(x.reshape(-1, 3).numpy() for x in rays(cameras, size, size)))


def _first(
    mesh: trimesh.Trimesh, origins: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first = mesh.ray.intersects_first(origins, directions)  # its tree of boxes is built once for a mesh
    pixel = (first >= 0).nonzero()[0]
    triangle, origin, direction = first[pixel], origins[pixel], directions[pixel]
    corners, normal = mesh.triangles[triangle], mesh.face_normals[triangle]
    # Embree's own distances are in single precision.
    above = np.einsum("ij,ij->i", normal, corners[:, 0] - origin)
    points = origin + direction * (above / np.einsum("ij,ij->i", normal, direction))[:, None]
    weights = trimesh.triangles.points_to_barycentric(corners, points).clip(0.0, 1.0)
    return pixel, triangle, weights
