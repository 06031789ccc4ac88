"""What a package is made of, placed as its files hold it: glTF axes, metres, the base's centre at the origin."""

import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from dreamdist3d.mesh.painted import Material
from dreamdist3d.mesh.texture import TextureMaps


@dataclass(frozen=True, eq=False)
class Part:
    """Triangles with a name; a hull has neither normals nor uv."""

    name: str
    vertices: np.ndarray  # [V, 3]
    faces: np.ndarray  # [F, 3]
    normals: np.ndarray | None = None  # [V, 3], unit
    uv: np.ndarray | None = None  # [V, 2], origin top left
    tangents: np.ndarray | None = None  # [V, 4], unit, and the handedness
    kinds: np.ndarray | None = None  # [F], which of the package's materials; None: all the first

    def faces_by_material(self) -> list[tuple[int, np.ndarray]]:
        """The materials in use, each with its faces."""
        if self.kinds is None:
            return [(0, self.faces)]
        return [(int(kind), self.faces[self.kinds == kind]) for kind in np.unique(self.kinds)]


@dataclass(frozen=True, eq=False)
class Package:
    """An asset on its way to files.

    Args:
        name: a safe name, which all files begin with.
        levels: LOD0 and on; they share one texture.
        hulls: convex, for collisions; may be empty.
        materials: at least one; all use the same maps.
    """

    name: str
    levels: tuple[Part, ...]
    hulls: tuple[Part, ...]
    maps: TextureMaps
    materials: tuple[Material, ...] = (Material(),)

    @cached_property
    def images(self) -> dict[str, bytes]:
        """The texture as PNG files, by kind: albedo, and normal and occlusion where they were baked."""
        kinds = {"albedo": self.maps.albedo, "normal": self.maps.normal, "occlusion": self.maps.occlusion}
        return {kind: _png(pixels) for kind, pixels in kinds.items() if pixels is not None}

    def image_name(self, kind: str) -> str:
        """The name of an image that lies beside the files that use it."""
        return f"{self.name}_{kind}.png"


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
