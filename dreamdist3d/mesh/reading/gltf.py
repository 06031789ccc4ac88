"""glTF 2.0 files: the document, its buffers, and its accessors as arrays."""

import base64
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.reading.common import Notes, check_count, file_beside, shown

_TYPES: dict[Any, type[np.number]] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
_WIDTHS: dict[Any, int] = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
# What is read as it is meant; what a renderer without lights and environments shows the same way; data beside the mesh.
FOLLOWED = {
    "EXT_mesh_gpu_instancing",
    *_MESHOPT,
    "EXT_texture_avif",
    "EXT_texture_webp",
    "KHR_draco_mesh_compression",
    "KHR_materials_emissive_strength",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_materials_unlit",
    "KHR_mesh_quantization",
    "KHR_texture_transform",
    "KHR_xmp_json_ld",
}
# Refusing these would refuse a mesh that reads well: they are named where they stand instead.
NAMED = {"FB_ngon_encoding", "KHR_texture_basisu", "MSFT_texture_dds", "KHR_lights_punctual", "KHR_materials_variants"}


class GltfFile:
    """A document and what its accessors hold.

    Raises (by all methods):
        UserError: without the file's name, which the caller knows.
    """

    def __init__(self, path: Path, notes: Notes) -> None:
        self.path, self.notes = path, notes
        self.document, self._binary = _document(path.read_bytes())
        version = str(self.document.get("asset", {}).get("version", ""))
        if not version.startswith("2"):
            raise UserError(f"it is glTF {shown(version) or 'without a version'}; export it as glTF 2.0.")
        self._buffers: dict[int, bytes] = {}
        self._views: dict[int, bytes] = {}
        self._check_extensions()

    def entry(self, kind: str, index: Any) -> dict[str, Any]:
        """`document[kind][index]`."""
        entries = self.document.get(kind, [])
        if not (isinstance(index, int) and isinstance(entries, list) and 0 <= index < len(entries)):
            raise UserError(f"it names {kind} {shown(index)}, which is not there; export it again.")
        if not isinstance(entries[index], dict):
            raise UserError(f"{kind} {index} is no object; export it again.")
        return entries[index]

    def array(self, index: Any) -> np.ndarray:
        """An accessor as [N, C]: integers as they are stored, normalised ones as floats in [-1, 1]."""
        accessor = self.entry("accessors", index)
        count, width = accessor.get("count"), _WIDTHS.get(accessor.get("type"))
        kind = _TYPES.get(accessor.get("componentType"))
        if not isinstance(count, int) or width is None or kind is None:
            raise UserError(f"accessor {index} lacks a count, a type or a component type; export it again.")
        check_count(count, f"accessor {index}")
        if "bufferView" in accessor:
            start, step = accessor.get("byteOffset", 0), self.entry("bufferViews", accessor["bufferView"])
            values = self._rows(
                accessor["bufferView"], start, step.get("byteStride"), count, width, kind, f"accessor {index}"
            )
        else:
            values = np.zeros((count, width), kind)
        if "sparse" in accessor:
            values = self._sparse(values, accessor["sparse"], width, kind, index)
        return normalised(values) if accessor.get("normalized") else values

    def view(self, index: Any) -> bytes:
        """The bytes of a buffer view, decompressed."""
        if index not in self._views:
            entry = self.entry("bufferViews", index)
            packed = next((entry["extensions"][n] for n in _MESHOPT if n in entry.get("extensions", {})), None)
            self._views[index] = self._slice(entry, index) if packed is None else self._unpacked(packed, entry, index)
        return self._views[index]

    def _check_extensions(self) -> None:
        required = [name for name in self.document.get("extensionsRequired", []) if isinstance(name, str)]
        unknown = [name for name in required if name not in FOLLOWED | NAMED]
        if unknown:
            raise UserError(
                f"it requires {', '.join(map(shown, unknown))}, which dreamdist3d does not follow; export it without."
            )

    def _rows(
        self, view: int, start: int, stride: int | None, count: int, width: int, kind: type, what: str
    ) -> np.ndarray:
        data, item = self.view(view), np.dtype(kind).newbyteorder("<")
        stride = stride or item.itemsize * width
        end = start + stride * (count - 1) + item.itemsize * width if count else start
        if start < 0 or end > len(data):
            raise UserError(f"{what} reaches past its {len(data)} bytes; export it again.")
        shape, strides = (count, width), (stride, item.itemsize)
        return np.ndarray(shape, item, data, start, strides).astype(kind)

    def _sparse(self, values: np.ndarray, sparse: dict[str, Any], width: int, kind: type, index: int) -> np.ndarray:
        places, new = sparse["indices"], sparse["values"]
        count = sparse["count"]
        check_count(count, f"accessor {index}")
        what, number = f"accessor {index}'s sparse part", _TYPES[places["componentType"]]
        rows = self._rows(places["bufferView"], places.get("byteOffset", 0), None, count, 1, number, what)[:, 0]
        if count and rows.max() >= len(values):
            raise UserError(f"{what} names entry {rows.max()} of {len(values)}; export it again.")
        values[rows] = self._rows(new["bufferView"], new.get("byteOffset", 0), None, count, width, kind, what)
        return values

    def _slice(self, view: dict[str, Any], index: int) -> bytes:
        data = self._buffer(view.get("buffer"))
        start, length = view.get("byteOffset", 0), view.get("byteLength", 0)
        if start < 0 or length < 0 or start + length > len(data):
            raise UserError(f"buffer view {index} reaches past its buffer's {len(data)} bytes: the file is cut short.")
        return data[start : start + length]

    def _unpacked(self, packed: dict[str, Any], view: dict[str, Any], index: int) -> bytes:
        try:
            from meshopt import decode_gltf_buffer
        except ImportError:
            plain = self.entry("buffers", view.get("buffer"))
            if not any(plain.get("extensions", {}).get(name, {}).get("fallback") for name in _MESHOPT):
                return self._slice(view, index)
            raise UserError(
                "it is compressed by meshoptimizer: pip install 'dreamdist3d[meshopt]', or export it without."
            ) from None
        check_count(packed["count"] * packed["byteStride"] // 64, f"buffer view {index}")
        coding = packed["mode"], packed.get("filter") if packed.get("filter") != "NONE" else None
        try:
            found = decode_gltf_buffer(self._slice(packed, index), packed["count"], packed["byteStride"], *coding)
        except Exception as error:  # whatever the decoder meets in a broken file
            raise UserError(f"buffer view {index} cannot be decompressed ({shown(error)}); export it again.") from error
        return np.asarray(found).tobytes()

    def _buffer(self, index: Any) -> bytes:
        if index not in self._buffers:
            uri = self.entry("buffers", index).get("uri")
            if uri is None and index == 0 and self._binary is not None:
                self._buffers[index] = self._binary
            elif isinstance(uri, str):
                self._buffers[index] = self.resource(uri)
            else:
                raise UserError(f"buffer {index} is not in the file: it is cut short; copy or export it again.")
        return self._buffers[index]

    def resource(self, uri: str) -> bytes:
        """What a `data:` address or a file beside the document holds."""
        if uri.startswith("data:"):
            head, _, body = uri.partition(",")
            try:
                return base64.b64decode(body) if head.endswith(";base64") else unquote(body).encode("latin-1")
            except ValueError as error:
                raise UserError(f"a data address cannot be decoded ({error}); export it again.") from error
        file = file_beside(self.path, unquote(uri))
        if file is None:
            raise UserError(f"{shown(uri)} is missing beside it; copy it there.")
        return file.read_bytes()


def normalised(values: np.ndarray) -> np.ndarray:
    """Stored integers as the floats they stand for (glTF 2.0, 3.11); floats stay."""
    if values.dtype.kind not in "iu":
        return values
    return np.maximum(values / float(np.iinfo(values.dtype).max), -1.0)


def _document(data: bytes) -> tuple[dict[str, Any], bytes | None]:
    text, binary = data, None
    if data[:4] == b"glTF":
        if len(data) >= 8 and struct.unpack_from("<I", data, 4)[0] != 2:
            raise UserError("it is glTF 1.0; export it as glTF 2.0.")
        if len(data) < 20 or struct.unpack_from("<I", data, 8)[0] > len(data):
            raise UserError("its container is cut short; copy or export it again.")
        length = struct.unpack_from("<I", data, 12)[0]
        text, rest = data[20 : 20 + length], data[20 + length :]
        if len(rest) >= 8:
            binary = rest[8 : 8 + struct.unpack_from("<I", rest)[0]]
    try:
        document = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"it holds no glTF document ({shown(error)}); export it again.") from error
    if not isinstance(document, dict):
        raise UserError("it holds no glTF document; export it again.")
    return document, binary
