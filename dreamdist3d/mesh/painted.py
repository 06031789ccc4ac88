"""A mesh with its paint: colours at the vertices, or a texture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import trimesh


@dataclass(frozen=True)
class Painted:
    """Triangles and what colours them: a texture where there is one, else colours at the vertices."""

    vertices: np.ndarray  # [V, 3]
    faces: np.ndarray  # [F, 3]
    colors: np.ndarray | None = None  # [V, 3] uint8 sRGB
    uv: np.ndarray | None = None  # [V, 2], origin top left
    texture: np.ndarray | None = None  # [H, W, 3] uint8 sRGB
    normals: np.ndarray | None = None  # [V, 3]; without them the triangles are flat

    def __post_init__(self) -> None:
        if self.colors is None and (self.uv is None or self.texture is None):
            raise ValueError("a painted mesh needs colours at its vertices, or a texture and texture coordinates")

    def vertex_colors(self) -> np.ndarray:
        """Colours at the vertices, read from the texture where there is one: uint8 [V, 3], sRGB."""
        if self.texture is None:
            return self.colors
        return np.round(255.0 * sample_texture(self.texture, self.uv)).astype(np.uint8)

    def interpolated(self, values: np.ndarray, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Values at the vertices, [V, C], at places given by face [N] and barycentric weights [N, 3]: [N, C]."""
        return np.einsum("nc,ncj->nj", weights, values[self.faces[face]])

    def color_at(self, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Colours, sRGB in [0, 1], at places given by face [N] and barycentric weights [N, 3]: [N, 3]."""
        if self.texture is None:
            return self.interpolated(self.colors / 255.0, face, weights)
        return sample_texture(self.texture, self.interpolated(self.uv, face, weights))

    def moved(self, vertices: np.ndarray, normals: np.ndarray | None = None) -> "Painted":
        """The same paint on other vertices [V, 3]."""
        return Painted(vertices, self.faces, self.colors, self.uv, self.texture, normals)

    @classmethod
    def of(cls, mesh: trimesh.Trimesh) -> "Painted":
        """A mesh with vertex colours (sRGB)."""
        return cls(mesh.vertices.view(np.ndarray), mesh.faces.view(np.ndarray), mesh.visual.vertex_colors[:, :3])


def of_each(parts: Sequence[Painted], face: np.ndarray) -> Iterator[tuple[Painted, np.ndarray, np.ndarray]]:
    """Each part, which of the faces [N], counted through all parts, are its own, and their numbers in it."""
    start = 0
    for part in parts:
        mine = ((face >= start) & (face < start + len(part.faces))).nonzero()[0]
        yield part, mine, face[mine] - start
        start += len(part.faces)


def paint_on(parts: Sequence[Painted], face: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Colours, sRGB in [0, 1], of places on several parts, whose faces are counted through: [N, 3]."""
    colors = np.empty((len(face), 3))
    for part, mine, own in of_each(parts, face):
        colors[mine] = part.color_at(own, weights[mine])
    return colors


def sample_texture(
    texture: np.ndarray,  # [H, W, C] uint8
    uv: np.ndarray,  # [N, 2], origin top left; the texture repeats
) -> np.ndarray:
    """Bilinear values in [0, 1]: [N, C]."""
    size = np.array([texture.shape[1], texture.shape[0]])
    place = uv * size - 0.5
    low = np.floor(place).astype(np.int64)
    share = place - low
    result = np.zeros((len(uv), texture.shape[2]))
    for step_x in (0, 1):
        for step_y in (0, 1):
            column, row = ((low + [step_x, step_y]) % size).T
            weight = np.abs(1 - step_x - share[:, 0]) * np.abs(1 - step_y - share[:, 1])
            result += weight[:, None] * texture[row, column]
    return result / 255.0
