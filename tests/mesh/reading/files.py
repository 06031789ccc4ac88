"""Small files as other programs write them."""

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dreamdist3d.mesh.painted import Painted

_COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)  # as seen, [row, column]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def quarters(size: int = 16) -> np.ndarray:
    """Red, green; blue, white."""
    return QUARTERS.repeat(size // 2, axis=0).repeat(size // 2, axis=1)


def cube(size: float = 1.0) -> dict[str, np.ndarray]:
    """Positions, normals and texture coordinates of a cube about the origin with its sides apart: 24 vertices."""
    points, normals, uv, faces = [], [], [], []
    for axis in range(3):
        for sign in (1.0, -1.0):
            normal = np.eye(3)[axis] * sign
            one = np.eye(3)[(axis + 1) % 3]
            two = np.cross(normal, one)
            start = len(points)
            for u, v in ((0, 1), (1, 1), (1, 0), (0, 0)):
                points.append(0.5 * size * (normal + (2 * u - 1) * one + (1 - 2 * v) * two))
                normals.append(normal)
                uv.append((u, v))
            faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
    arrays = {"POSITION": points, "NORMAL": normals, "TEXCOORD_0": uv}
    found = {name: np.array(values, np.float32) for name, values in arrays.items()}
    return found | {"faces": np.array(faces, np.uint16)}


class GltfBuilder:
    """A glTF document that grows; what tests do not set is the least that the standard asks for."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.document: dict[str, Any] = {"asset": {"version": "2.0"}, "bufferViews": [], "accessors": []}

    def view(self, raw: bytes) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        self.document["bufferViews"].append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw)})
        self.data += raw
        return len(self.document["bufferViews"]) - 1

    def accessor(self, values: np.ndarray, normalised: bool = False) -> int:
        values = np.ascontiguousarray(values.reshape(len(values), -1))
        kind = "SCALAR" if values.shape[1] == 1 else "MAT4" if values.shape[1] == 16 else f"VEC{values.shape[1]}"
        component = _COMPONENTS[values.dtype.str[1:]]
        entry = {"bufferView": self.view(values.tobytes()), "componentType": component, "count": len(values)}
        self.document["accessors"].append(entry | {"type": kind} | ({"normalized": True} if normalised else {}))
        return len(self.document["accessors"]) - 1

    def write(self, path: Path) -> Path:
        self.document["buffers"] = [{"byteLength": len(self.data)}]
        text = json.dumps(self.document).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self.data) + b"\0" * (-len(self.data) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path


def gltf(
    path: Path,
    arrays: dict[str, np.ndarray],
    material: dict[str, Any] | None = None,
    picture: bytes | None = None,
    edit: Callable[[GltfBuilder], None] = lambda builder: None,
    normalised: tuple[str, ...] = (),
) -> Path:
    """One mesh at one node as GLB; `material` may use texture 0, which is `picture`; `edit` has the last word."""
    builder = GltfBuilder()
    attributes = {n: builder.accessor(v, n in normalised) for n, v in arrays.items() if n != "faces"}
    primitive: dict[str, Any] = {"attributes": attributes}
    if "faces" in arrays:
        primitive["indices"] = builder.accessor(arrays["faces"].reshape(-1))
    if material is not None:
        primitive["material"] = 0
        builder.document["materials"] = [material]
    if picture is not None:
        mime = "image/png" if picture[:4] == b"\x89PNG" else "image/ktx2"
        builder.document["images"] = [{"bufferView": builder.view(picture), "mimeType": mime}]
        builder.document["textures"] = [{"source": 0}]
    builder.document |= {
        "meshes": [{"primitives": [primitive]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    edit(builder)
    return builder.write(path)


def textured(**more: Any) -> dict[str, Any]:
    """A material whose base colour is texture 0."""
    slot = more.pop("slot", {})
    return {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, **slot}, "metallicFactor": 0.0, **more}}


def seen(part: Painted, point: tuple[float, float, float]) -> list[int]:
    """sRGB, 0 ... 255, of the part's nearest place to a point."""
    from dreamdist3d.mesh.nearest import nearest_on

    found = nearest_on(np.array([point]), part.vertices, part.faces)
    return np.round(255 * part.color_at(found.face, found.weights)[0]).astype(int).tolist()
