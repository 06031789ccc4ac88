"""A mesh with its texture, as it leaves the baker."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class TextureMaps:
    """Square images of one material, all of the same power-of-two size; metalness is 0."""

    albedo: np.ndarray  # [T, T, 3] or, with opacity, [T, T, 4]; uint8, sRGB
    normal: np.ndarray | None  # [T, T, 3] uint8, tangent space, +Y up (glTF, OpenGL)
    occlusion: np.ndarray | None  # [T, T] uint8, linear; 255 sees the whole sky
    mask: np.ndarray  # [T, T] bool, texels inside a chart; the others are dilated from them


@dataclass(frozen=True, eq=False)
class TexturedMesh:
    """Triangles with one UV per vertex: vertices are split at the borders of charts."""

    vertices: np.ndarray  # [V, 3] float64, in the axes of the source mesh
    faces: np.ndarray  # [F, 3] int64
    normals: np.ndarray  # [V, 3], unit; both sides of a chart border have one, those of a hard edge have two
    uv: np.ndarray  # [V, 2] in [0, 1]; (0, 0) is the image's top left corner (glTF)
    maps: TextureMaps
    warnings: tuple[str, ...]  # one line each, for the user
