"""The GLB container: named arrays of one mesh packed into the bytes of a glTF 2.0 binary file."""

import json
import struct
from typing import Any

import numpy as np

_COMPONENTS = {np.dtype(np.float32): 5126, np.dtype(np.uint32): 5125, np.dtype(np.uint16): 5123}
_VERTEX_DATA, _INDEX_DATA = 34962, 34963


def pack_glb(
    attributes: dict[str, np.ndarray],  # glTF name -> [V, C] float32 or uint16 (taken as normalised)
    triangles: np.ndarray,  # [F, 3] uint32
    material: dict[str, Any],
    name: str,
) -> bytes:
    """One mesh, one material, one node, as GLB bytes.

    `POSITION` gets the bounds that the standard asks for. Each row must be a multiple of 4 bytes.
    """
    builder = _Buffers()
    accessors = {key: builder.add(values, _VERTEX_DATA) for key, values in attributes.items()}
    position = attributes["POSITION"]
    builder.accessors[accessors["POSITION"]] |= {"min": position.min(0).tolist(), "max": position.max(0).tolist()}
    primitive = {"attributes": accessors, "indices": builder.add(triangles.reshape(-1, 1), _INDEX_DATA), "material": 0}
    document = {
        "asset": {"version": "2.0", "generator": "dreamdist3d"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name}],
        "meshes": [{"name": name, "primitives": [primitive]}],
        "materials": [material],
        "accessors": builder.accessors,
        "bufferViews": builder.views,
        "buffers": [{"byteLength": len(builder.data)}],
    }
    return _container(json.dumps(document, separators=(",", ":")).encode(), bytes(builder.data))


class _Buffers:
    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, target: int) -> int:
        count, width = values.shape
        raw = np.ascontiguousarray(values).tobytes()
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw), "target": target})
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": _COMPONENTS[values.dtype],
            "count": count,
            "type": "SCALAR" if width == 1 else f"VEC{width}",
        }
        if values.dtype == np.uint16:
            accessor["normalized"] = True
        self.accessors.append(accessor)
        self.data += raw
        return len(self.accessors) - 1


def _container(document: bytes, binary: bytes) -> bytes:
    document += b" " * (-len(document) % 4)
    chunks = struct.pack("<I4s", len(document), b"JSON") + document
    chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
