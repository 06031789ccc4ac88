"""A mesh with its paint: colours at the vertices, a texture, or both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import trimesh

from dreamdist3d.mesh.colors import linear_to_srgb, srgb_to_linear, vertex_colors

AlphaMode = Literal["OPAQUE", "MASK", "BLEND"]
Wrap = Literal["repeat", "clamp", "mirror"]


@dataclass(frozen=True)
class Material:
    """What a renderer must know of a surface beside its colour, in glTF's words."""

    alpha_mode: AlphaMode = "OPAQUE"
    alpha_cutoff: float = 0.5  # of MASK: what is less opaque is not there
    double_sided: bool = False


@dataclass(frozen=True)
class Sampler:
    """How a texture is read: past its borders, along u and v, and between its texels."""

    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    nearest: bool = False  # the nearest texel's value alone, for textures drawn pixel by pixel


@dataclass(frozen=True, eq=False)
class Painted:
    """Triangles and what colours them: a texture, colours at the vertices, or the product of both in linear light."""

    vertices: np.ndarray  # [V, 3]
    faces: np.ndarray  # [F, 3]
    colors: np.ndarray | None = None  # [V, 3] or, with opacity, [V, 4]; uint8 sRGB
    uv: np.ndarray | None = None  # [V, 2], origin top left
    texture: np.ndarray | None = None  # [H, W, 3] or, with opacity, [H, W, 4]; uint8 sRGB
    normals: np.ndarray | None = None  # [V, 3]; without them the triangles are flat
    sampler: Sampler = Sampler()
    material: Material = Material()

    def __post_init__(self) -> None:
        if self.colors is None and (self.uv is None or self.texture is None):
            raise ValueError("a painted mesh needs colours at its vertices, or a texture and texture coordinates")

    def vertex_colors(self) -> np.ndarray:
        """Colours at the vertices, read from the texture where there is one: uint8 [V, 3], sRGB."""
        colors = None if self.colors is None else self.colors / 255.0
        return np.round(255.0 * self._blended(colors, self.uv)[:, :3]).astype(np.uint8)

    def interpolated(self, values: np.ndarray, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Values at the vertices, [V, C], at places given by face [N] and barycentric weights [N, 3]: [N, C]."""
        return np.einsum("nc,ncj->nj", weights, values[self.faces[face]])

    def rgba_at(self, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """sRGB and opacity in [0, 1] at places given by face [N] and barycentric weights [N, 3]: [N, 4]."""
        colors = None if self.colors is None else self.interpolated(self.colors / 255.0, face, weights)
        return self._blended(colors, None if self.uv is None else self.interpolated(self.uv, face, weights))

    def _blended(self, colors: np.ndarray | None, uv: np.ndarray | None) -> np.ndarray:
        """What colours [N, 3 or 4] and the texture at `uv` [N, 2] make together: [N, 4]."""
        if self.texture is not None and uv is not None:
            return _product(sample_texture(self.texture, uv, self.sampler), colors)
        assert colors is not None  # see __post_init__
        return _with_opacity(colors)

    def color_at(self, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """sRGB in [0, 1] at places given by face [N] and barycentric weights [N, 3]: [N, 3]."""
        return self.rgba_at(face, weights)[:, :3]

    def moved(self, vertices: np.ndarray, normals: np.ndarray | None = None) -> "Painted":
        """The same paint on other vertices [V, 3]."""
        return replace(self, vertices=vertices, normals=normals)

    @classmethod
    def of(cls, mesh: trimesh.Trimesh) -> "Painted":
        """A mesh with vertex colours (sRGB)."""
        return cls(mesh.vertices.view(np.ndarray), mesh.faces.view(np.ndarray), vertex_colors(mesh)[:, :3])


def of_each(parts: Sequence[Painted], face: np.ndarray) -> Iterator[tuple[Painted, np.ndarray, np.ndarray]]:
    """Each part, which of the faces [N], counted through all parts, are its own, and their numbers in it."""
    start = 0
    for part in parts:
        mine = ((face >= start) & (face < start + len(part.faces))).nonzero()[0]
        yield part, mine, face[mine] - start
        start += len(part.faces)


def rgba_on(parts: Sequence[Painted], face: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """sRGB and opacity in [0, 1] of places on several parts, whose faces are counted through: [N, 4].

    Opaque materials have opacity 1 whatever their textures hold.
    """
    found = np.ones((len(face), 4))
    for part, mine, own in of_each(parts, face):
        channels = 3 if part.material.alpha_mode == "OPAQUE" else 4
        found[mine, :channels] = part.rgba_at(own, weights[mine])[:, :channels]
    return found


def paint_on(parts: Sequence[Painted], face: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Colours, sRGB in [0, 1], of places on several parts, whose faces are counted through: [N, 3]."""
    return rgba_on(parts, face, weights)[:, :3]


def sample_texture(
    texture: np.ndarray,  # [H, W, C] uint8
    uv: np.ndarray,  # [N, 2], origin top left
    sampler: Sampler = Sampler(),
) -> np.ndarray:
    """Values in [0, 1], bilinear unless the sampler wants the nearest: [N, C]."""
    size = np.array([texture.shape[1], texture.shape[0]])
    if sampler.nearest:
        column, row = (_inside(i, s, wrap) for i, s, wrap in zip(_floor(uv * size), size, sampler.wrap, strict=True))
        return texture[row, column] / 255.0
    place = uv * size - 0.5
    low = np.floor(place)
    share = place - low
    result = np.zeros((len(uv), texture.shape[2]))
    for step_x in (0, 1):
        for step_y in (0, 1):
            corner = _floor(low + [step_x, step_y])
            column, row = (_inside(i, s, wrap) for i, s, wrap in zip(corner, size, sampler.wrap, strict=True))
            weight = np.abs(1 - step_x - share[:, 0]) * np.abs(1 - step_y - share[:, 1])
            result += weight[:, None] * texture[row, column]
    return result / 255.0


def _floor(values: np.ndarray) -> np.ndarray:
    return np.floor(values).astype(np.int64).T


def _inside(index: np.ndarray, size: int, wrap: Wrap) -> np.ndarray:
    """Numbers of texels along one axis, brought into 0 ... size - 1."""
    if wrap == "clamp":
        return index.clip(0, size - 1)
    if wrap == "mirror":
        index = index % (2 * size)
        return np.minimum(index, 2 * size - 1 - index)
    return index % size


def _product(texel: np.ndarray, colors: np.ndarray | None) -> np.ndarray:
    """sRGB [N, 3 or 4] by sRGB [N, 3 or 4], multiplied in linear light: [N, 4]; opacities are linear already."""
    texel = _with_opacity(texel)
    if colors is None:
        return texel
    colors = _with_opacity(colors)
    rgb = linear_to_srgb(srgb_to_linear(texel[:, :3]) * srgb_to_linear(colors[:, :3]))
    return np.concatenate([rgb.clip(0.0, 1.0), texel[:, 3:] * colors[:, 3:]], axis=1)


def _with_opacity(values: np.ndarray) -> np.ndarray:
    return values if values.shape[1] == 4 else np.concatenate([values, np.ones((len(values), 1))], axis=1)
