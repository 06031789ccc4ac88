"""PLY files: triangles, polygons and strips, colours of vertices or faces, textures.

Own code, because the loader of trimesh mixes the colours of faces at their corners, takes 16-bit and `diffuse_`
colours for none, and the one of plyfile is under the GPL.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.reading.common import BARE, Notes, check_count, decoded_picture, file_beside, shown
from dreamdist3d.mesh.reading.polygons import triangulated

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_PLACES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))


@dataclass
class _Element:
    name: str
    count: int
    properties: list[tuple[str, str, str | None]] = field(default_factory=list)  # name, type, type of a list's length
    columns: dict[str, np.ndarray] = field(default_factory=dict)  # of plain properties
    lists: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)  # lengths [N], all values in a row


def read_ply(path: Path, notes: Notes) -> list[Painted]:
    """The triangles of an ASCII or binary PLY file, in its axes.

    Raises:
        UserError: broken, or without faces; without the file's name.
    """
    data = path.read_bytes()
    elements, pictures, kind, start = _header(data)
    if kind == "ascii":
        _read_ascii(elements, data[start:], notes)
    else:
        _read_binary(elements, data, start, "<" if kind == "binary_little_endian" else ">")
    by_name = {element.name: element for element in elements}
    for name in by_name.keys() - {"vertex", "face", "tristrips"}:
        if by_name[name].count:
            notes.add(f"{shown(name)} elements are left out.")
    if "vertex" not in by_name:
        raise UserError("it holds no vertices; export it again.")
    return _parts(path, by_name["vertex"], by_name.get("face"), by_name.get("tristrips"), pictures, notes)


def _header(data: bytes) -> tuple[list[_Element], list[str], str, int]:
    """Elements, textures, the encoding and where the data begin."""
    end = data.find(b"end_header")
    after = data.find(b"\n", end)
    if data[:3] != b"ply" or end < 0:
        raise UserError("it has no PLY header; export it again.")
    start = after + 1 if data[end + 10 : end + 11] in (b"\n", b"\r") and after >= 0 else end + 11
    if data[end + 10 : end + 11] == b"\r" and data[end + 11 : end + 12] != b"\n":
        start = end + 11
    elements: list[_Element] = []
    pictures, kind = [], ""
    for line in data[:end].decode("utf-8", "replace").splitlines():
        words = line.split()
        if words[:1] == ["format"] and len(words) > 1:
            kind = words[1]
        elif words[:1] == ["element"] and len(words) == 3 and words[2].isdigit():
            check_count(int(words[2]), f"element {words[1]}")
            elements.append(_Element(words[1], int(words[2])))
        elif words[:1] == ["property"] and elements:
            if words[1] == "list" and len(words) == 5:
                elements[-1].properties.append((words[4], _type(words[3]), _type(words[2])))
            elif len(words) == 3:
                elements[-1].properties.append((words[2], _type(words[1]), None))
        elif len(words) > 2 and words[0] == "comment" and words[1].lower() == "texturefile":
            pictures.append(line.split(None, 2)[2].strip())
    if kind not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise UserError(f"its format {shown(kind)} is none of PLY's; export it again.")
    return elements, pictures, kind, start


def _type(name: str) -> str:
    if name not in _TYPES:
        raise UserError(f"its header names the type {shown(name)}, which PLY does not have; export it again.")
    return _TYPES[name]


def _read_ascii(elements: list[_Element], data: bytes, notes: Notes) -> None:
    """A row is a line, whatever its header says of how much stands in it."""
    lines, at = [line for line in data.splitlines() if line.strip()], 0
    for element in elements:
        rows = lines[at : at + element.count]
        at += element.count
        if len(rows) < element.count:
            raise _cut_short(element)
        values = _numbers(b" ".join(rows).split())
        widths = _uniform_widths(element, values)
        whole = len(values) == element.count * sum(widths)
        if not whole or not _fits(element, values.reshape(element.count, sum(widths)), widths):
            _ragged_ascii(element, rows, notes)


def _numbers(words: list[bytes]) -> np.ndarray:
    try:
        return np.array(words, dtype="S").astype(np.float64) if words else np.zeros(0)
    except ValueError as error:
        raise UserError(f"its data are no numbers ({shown(error)}); export it again.") from error


def _uniform_widths(element: _Element, values: np.ndarray) -> list[int]:
    """How many values each property of the first row has, a list's length counted."""
    widths, offset = [], 0
    for _, _, length in element.properties:
        listed = length is not None and element.count > 0 and offset < len(values)
        widths.append(1 + max(int(values[offset]), 0) if listed else 1)
        offset += widths[-1]
    return widths


def _fits(element: _Element, table: np.ndarray, widths: list[int]) -> bool:
    """Fill an element of lists of one length each; whether it is such a one."""
    at = 0
    for (name, kind, length), width in zip(element.properties, widths, strict=True):
        if length is None:
            element.columns[name] = table[:, at].astype(kind)
        elif (table[:, at] == width - 1).all():
            element.lists[name] = np.full(len(table), width - 1), table[:, at + 1 : at + width].ravel().astype(kind)
        else:
            element.columns.clear()
            element.lists.clear()
            return False
        at += width
    return True


def _ragged_ascii(element: _Element, rows: list[bytes], notes: Notes) -> None:
    columns: dict[str, list] = {name: [] for name, _, _ in element.properties}
    lengths: dict[str, list[int]] = {name: [] for name, _, length in element.properties if length}
    for row in rows:
        values, at = _numbers(row.split()), 0
        for name, _, length in element.properties:
            count = 1
            if length:
                count = int(values[at]) if at < len(values) else -1
                lengths[name].append(count)
                at += 1
            if count < 0 or at + count > len(values):
                raise _cut_short(element)
            columns[name].append(values[at : at + count])
            at += count
        if at < len(values):
            notes.add(f"rows of its {shown(element.name)} elements hold more than the header says: left out.")
    _keep(element, columns, lengths)


def _keep(element: _Element, columns: dict[str, list], lengths: dict[str, list[int]]) -> None:
    for name, kind, length in element.properties:
        joined = np.concatenate(columns[name]) if columns[name] else np.zeros(0)
        if length:
            element.lists[name] = np.array(lengths[name], np.int64), joined.astype(kind)
        else:
            element.columns[name] = joined.astype(kind)


def _read_binary(elements: list[_Element], data: bytes, at: int, order: str) -> None:
    for element in elements:
        lengths, offset, row = {}, 0, []
        for name, kind, length in element.properties:
            if length:
                item = np.dtype(order + length)
                if element.count and at + offset + item.itemsize > len(data):
                    raise _cut_short(element)
                count = int(np.frombuffer(data, item, 1, at + offset)[0]) if element.count else 0
                lengths[name] = max(count, 0)
                row += [(f"#{name}", item), (name, order + kind, (lengths[name],))]
            else:
                row.append((name, order + kind))
            offset = np.dtype(row).itemsize
        whole = np.dtype(row)
        if at + whole.itemsize * element.count <= len(data):
            table = np.frombuffer(data, whole, element.count, at)
            if all((table[f"#{name}"] == count).all() for name, count in lengths.items()):
                for name, kind, length in element.properties:
                    if length:
                        element.lists[name] = np.full(element.count, lengths[name]), table[name].ravel().astype(kind)
                    else:
                        element.columns[name] = table[name].astype(kind)
                at += whole.itemsize * element.count
                continue
        at = _ragged_binary(element, data, at, order)


def _ragged_binary(element: _Element, data: bytes, at: int, order: str) -> int:
    columns: dict[str, list] = {name: [] for name, _, _ in element.properties}
    lengths: dict[str, list[int]] = {name: [] for name, _, length in element.properties if length}
    kinds = [
        (n, np.dtype(order + kind), np.dtype(order + count) if count else None) for n, kind, count in element.properties
    ]
    for _ in range(element.count):
        for name, kind, length in kinds:
            count = 1
            if length is not None:
                if at + length.itemsize > len(data):
                    raise _cut_short(element)
                count = int(np.frombuffer(data, length, 1, at)[0])
                lengths[name].append(count)
                at += length.itemsize
            if count < 0 or at + count * kind.itemsize > len(data):
                raise _cut_short(element)
            columns[name].append(np.frombuffer(data, kind, count, at))
            at += count * kind.itemsize
    _keep(element, columns, lengths)
    return at


def _cut_short(element: _Element) -> UserError:
    return UserError(f"it ends before its {element.count} {shown(element.name)} elements do; copy or export it again.")


def _parts(
    path: Path,
    vertex: _Element,
    face: _Element | None,
    strips: _Element | None,
    pictures: list[str],
    notes: Notes,
) -> list[Painted]:
    points = np.stack([_column(vertex, axis) for axis in "xyz"], axis=1)
    sizes, corners = _polygons(face)
    if len(corners) and (corners.min() < 0 or corners.max() >= len(points)):
        raise UserError(f"a face names vertex {corners.max()} of {len(points)}; export it again.")
    chosen, owners = triangulated(points, sizes, corners)
    owner: np.ndarray | None = owners
    faces = corners[chosen]
    if strips is not None and strips.count:
        if face is not None and face.count:
            notes.add("triangle strips beside faces are left out.")
        else:
            faces, owner = _strips(strips), None
    if not len(faces):
        raise UserError(f"it holds {len(points)} points and no triangles; give a mesh.")
    normals = None
    if all(axis in vertex.columns for axis in ("nx", "ny", "nz")):
        normals = np.stack([_column(vertex, axis) for axis in ("nx", "ny", "nz")], axis=1)
    picture = _picture(path, pictures, face, notes)
    if picture is not None and (flat := _places(vertex, face, faces, chosen, sizes)) is not None:
        split = flat.ndim == 3
        index = np.arange(faces.size).reshape(-1, 3) if split else faces
        take = faces.ravel() if split else slice(None)
        uv = flat.reshape(-1, 2) * [1.0, -1.0] + [0.0, 1.0]  # PLY counts from the bottom left
        return [Painted(points[take], index, uv=uv, texture=picture, normals=_rows(normals, take))]
    if pictures and picture is not None:
        notes.add("it names a texture and has no texture coordinates: the texture is left out.")
    at_vertices = _colors(vertex, notes)
    at_faces = _colors(face, notes) if owner is not None and face is not None else None
    if at_faces is not None and (at_vertices is None or (at_vertices == at_vertices[:1]).all()):
        # Each triangle gets corners of its own, so that neighbours of other colours begin at the edge.
        take, colors = faces.ravel(), np.repeat(at_faces[owner], 3, axis=0)
        return [Painted(points[take], np.arange(faces.size).reshape(-1, 3), colors, normals=_rows(normals, take))]
    if at_vertices is None:
        at_vertices = np.tile(BARE, (len(points), 1))
    return [Painted(points, faces, at_vertices, normals=normals)]


def _rows(values: np.ndarray | None, take: np.ndarray | slice) -> np.ndarray | None:
    return None if values is None else values[take]


def _column(element: _Element, name: str) -> np.ndarray:
    if name not in element.columns:
        raise UserError(f"its vertices have no {name}; export it again.")
    return element.columns[name].astype(np.float64)


def _polygons(face: _Element | None) -> tuple[np.ndarray, np.ndarray]:
    for name in ("vertex_indices", "vertex_index"):
        if face is not None and name in face.lists:
            sizes, corners = face.lists[name]
            return sizes.astype(np.int64), corners.astype(np.int64)
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


def _strips(strips: _Element) -> np.ndarray:
    """Triangles of strips, which -1 ends."""
    values = np.concatenate([values for _, values in strips.lists.values()]).astype(np.int64)
    found = []
    for strip in np.split(values, (values < 0).nonzero()[0]):
        strip = strip[strip >= 0]
        if len(strip) > 2:
            faces = np.stack([strip[:-2], strip[1:-1], strip[2:]], axis=1)
            faces[1::2] = faces[1::2, [1, 0, 2]]
            found.append(faces)
    return np.concatenate(found) if found else np.zeros((0, 3), np.int64)


def _colors(element: _Element, notes: Notes) -> np.ndarray | None:
    """uint8 [N, 3], sRGB as everybody writes it.

    Opacity is not followed: scanners write it as weights, or leave the field at 0, and no viewer shows it.
    """
    for names in _COLORS:
        if all(name in element.columns for name in names):
            for name in ("alpha", "diffuse_alpha", "a"):
                if name in element.columns and len(np.unique(element.columns[name])) > 1:
                    notes.add("the opacity of its colours is not kept.")
            return np.stack([_bytes(element.columns[name]) for name in names], axis=1)
    return None


def _bytes(values: np.ndarray) -> np.ndarray:
    """Of any type to uint8: 16 bits and floats are fractions of their whole, other integers and floats up to 255."""
    values_64 = values.astype(np.float64)
    whole = {"u1": 255.0, "u2": 65535.0}.get(values.dtype.str[1:])
    if whole is None:
        whole = 1.0 if values.dtype.kind == "f" and np.nanmax(values_64, initial=0.0) <= 1.0 else 255.0
    return np.round(255.0 * np.clip(np.nan_to_num(values_64) / whole, 0.0, 1.0)).astype(np.uint8)


def _picture(path: Path, pictures: list[str], face: _Element | None, notes: Notes) -> np.ndarray | None:
    if not pictures:
        return None
    if len(pictures) > 1:
        notes.add(f"of its {len(pictures)} textures only the first, {shown(pictures[0])}, is used.")
    file = file_beside(path, pictures[0])
    if file is None:
        notes.add(f"the texture {shown(pictures[0])} is missing.")
        return None
    try:
        return decoded_picture(file, opacity=False)
    except ValueError as error:
        notes.add(f"the texture {shown(pictures[0])} is left out: {error}.")
        return None


def _places(
    vertex: _Element, face: _Element | None, faces: np.ndarray, chosen: np.ndarray, sizes: np.ndarray
) -> np.ndarray | None:
    """Texture coordinates: of the vertices [V, 2], or of the corners of each triangle [F, 3, 2]."""
    for names in _PLACES:
        if all(name in vertex.columns for name in names):
            return np.stack([_column(vertex, name) for name in names], axis=1)
    if face is not None and "texcoord" in face.lists:
        lengths, values = face.lists["texcoord"]
        if (lengths == 2 * sizes).all():
            return values.reshape(-1, 2).astype(np.float64)[chosen]
    return None
