"""The GLB container: named arrays, textures and nodes packed into the bytes of a glTF 2.0 binary file."""

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

_COMPONENTS = {np.dtype(np.float32): 5126, np.dtype(np.uint32): 5125, np.dtype(np.uint16): 5123}
_VERTEX_DATA, _INDEX_DATA = 34962, 34963
_LINEAR, _LINEAR_MIPMAP, _CLAMP = 9729, 9987, 33071
_SAMPLER = {"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAP, "wrapS": _CLAMP, "wrapT": _CLAMP}


def pack_glb(
    attributes: dict[str, np.ndarray],  # glTF name -> [V, C] float32 or uint16 (taken as normalised)
    triangles: np.ndarray,  # [F, 3] uint32
    material: dict[str, Any],
    name: str,
) -> bytes:
    """One mesh, one material, one node, as GLB bytes."""
    document = GlbDocument()
    mesh = document.add_mesh(name, attributes, [(triangles, document.add_material(material))])
    return document.pack([document.add_node(name, mesh)])


class GlbDocument:
    """A glTF scene that grows part by part; each `add_...` gives the index by which later parts refer to it."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._lists: dict[str, list[dict[str, Any]]] = {}

    def add_mesh(
        self,
        name: str,
        attributes: dict[str, np.ndarray],  # glTF name -> [V, C] float32 or uint16 (taken as normalised)
        primitives: Sequence[tuple[np.ndarray, int | None]],  # triangles [F, 3] and their material
    ) -> int:
        """One mesh. Each vertex row must be a multiple of 4 bytes; `POSITION` gets its bounds."""
        accessors = {key: self._add_array(values, _VERTEX_DATA) for key, values in attributes.items()}
        position = attributes["POSITION"]
        bounds = {"min": position.min(0).tolist(), "max": position.max(0).tolist()}
        self._lists["accessors"][accessors["POSITION"]] |= bounds
        entries = []
        for triangles, material in primitives:
            indices = self._add_array(triangles.astype(np.uint32).reshape(-1, 1), _INDEX_DATA)
            entries.append({"attributes": accessors, "indices": indices})
            if material is not None:
                entries[-1]["material"] = material
        return self._add("meshes", {"name": name, "primitives": entries})

    def add_material(self, material: dict[str, Any]) -> int:
        """A glTF material as it stands."""
        return self._add("materials", material)

    def add_texture(self, image: bytes | str) -> int:
        """PNG bytes to embed, or the name of a PNG file beside the GLB, as a clamped, mip-mapped texture."""
        if isinstance(image, str):
            source = self._add("images", {"uri": image})
        else:
            source = self._add("images", {"bufferView": self._add_view(image), "mimeType": "image/png"})
        if "samplers" not in self._lists:
            self._add("samplers", _SAMPLER)
        return self._add("textures", {"source": source, "sampler": 0})

    def add_node(self, name: str, mesh: int | None = None, children: list[int] | None = None) -> int:
        """A node without a transform of its own."""
        parts = {"mesh": mesh, "children": children}
        return self._add("nodes", {"name": name} | {key: part for key, part in parts.items() if part is not None})

    def pack(self, roots: list[int]) -> bytes:
        """The whole as GLB bytes; `roots` are the nodes of its one scene."""
        document = {
            "asset": {"version": "2.0", "generator": "dreamdist3d"},
            "scene": 0,
            "scenes": [{"nodes": roots}],
            **self._lists,
            "buffers": [{"byteLength": len(self._data)}],
        }
        return _container(json.dumps(document, separators=(",", ":")).encode(), bytes(self._data))

    def _add(self, kind: str, entry: dict[str, Any]) -> int:
        entries = self._lists.setdefault(kind, [])
        entries.append(entry)
        return len(entries) - 1

    def _add_view(self, raw: bytes, target: int | None = None) -> int:
        view = {"buffer": 0, "byteOffset": len(self._data), "byteLength": len(raw)}
        if target is not None:
            view["target"] = target
        self._data += raw + b"\0" * (-len(raw) % 4)
        return self._add("bufferViews", view)

    def _add_array(self, values: np.ndarray, target: int) -> int:
        count, width = values.shape
        accessor: dict[str, Any] = {
            "bufferView": self._add_view(np.ascontiguousarray(values).tobytes(), target),
            "componentType": _COMPONENTS[values.dtype],
            "count": count,
            "type": "SCALAR" if width == 1 else f"VEC{width}",
        }
        if values.dtype == np.uint16:
            accessor["normalized"] = True
        return self._add("accessors", accessor)


def _container(document: bytes, binary: bytes) -> bytes:
    document += b" " * (-len(document) % 4)
    chunks = struct.pack("<I4s", len(document), b"JSON") + document
    chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
