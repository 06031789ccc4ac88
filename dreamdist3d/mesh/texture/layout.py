"""A mesh laid out in its texture, and the places of the surface that the texture depicts."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import trimesh

from dreamdist3d.mesh.nearest import nearest_on
from dreamdist3d.mesh.texture.raster import Texels


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


def nearest_places(
    surface: trimesh.Trimesh,
    points: np.ndarray,  # [N, 3]
    normals: np.ndarray,  # [N, 3], unit
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest places on a surface in full detail, [N, 3], and its smooth unit normals there, [N, 3].

    Where the nearest place faces away from `normals`, as behind a plate thinner than the
    simplification is exact, point and normal stay.
    """
    found = nearest_on(points, surface.vertices, surface.faces)
    corners = surface.faces.view(np.ndarray)[found.face]
    smooth = unit(np.einsum("nk,nkj->nj", found.weights, surface.vertex_normals[corners]))
    facing = np.einsum("nj,nj->n", surface.face_normals[found.face], normals) > 0
    kept = (facing & smooth.any(axis=1))[:, None]
    return np.where(kept, found.points, points), np.where(kept, smooth, normals)


def unit(vectors: np.ndarray) -> np.ndarray:
    """[N, 3] at length 1; those without length stay 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 1e-12, length, np.inf)
