"""A mesh laid out in its texture."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

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


def unit(vectors: np.ndarray) -> np.ndarray:
    """[N, 3] at length 1; those without length stay 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 1e-12, length, np.inf)
