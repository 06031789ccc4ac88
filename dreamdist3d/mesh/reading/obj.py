"""Wavefront OBJ files as they are written in the wild.

Own code: trimesh counts negative indices from the end of the file (the format: from where they stand), and drops
vertex colours beside a material.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.reading.common import BARE, Notes, file_beside, shown
from dreamdist3d.mesh.reading.mtl import ObjMaterial, read_materials
from dreamdist3d.mesh.reading.polygons import triangulated

_LEFT_OUT = {"l": "lines", "p": "points", "curv": "curves", "curv2": "curves", "surf": "free-form surfaces"}


@dataclass
class _Group:
    """Polygons of one material."""

    sizes: list[int] = field(default_factory=list)
    corners: list[tuple[int, int, int]] = field(default_factory=list)  # of v, vt and vn, from 0; -1 for none


@dataclass
class _Lines:
    """What the lines of a file say."""

    points: list[list[float]] = field(default_factory=list)  # x, y, z and, if given, r, g, b
    places: list[list[float]] = field(default_factory=list)
    normals: list[list[float]] = field(default_factory=list)
    groups: dict[str | None, _Group] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)


def read_obj(path: Path, notes: Notes) -> list[Painted]:
    """One part for each material, in the file's axes.

    Raises:
        UserError: broken, or without faces; without the file's name.
    """
    lines = _parsed(path.read_bytes(), notes)
    materials = _materials(path, lines, notes)
    points = _table(lines.points, 3, "v")
    colors = _vertex_colors(lines.points, notes)
    places, normals = _table(lines.places, 2, "vt"), _table(lines.normals, 3, "vn")
    parts = []
    for name, group in lines.groups.items():
        if group.sizes:
            material = materials.get(name) if name is not None else None
            parts.append(_part(group, points, colors, places, normals, material, notes))
    return parts


def _parsed(data: bytes, notes: Notes) -> _Lines:
    found = _Lines()
    group = found.groups.setdefault(None, _Group())
    for number, line in enumerate(_text(data).split("\n"), 1):
        key, _, rest = line.strip().partition(" ")
        if not key or key[0] == "#":
            continue
        if "\t" in key:
            key, _, rest = line.strip().partition("\t")
        try:
            if key == "v":
                found.points.append([float(word) for word in rest.split()])
            elif key == "f":
                _add_polygon(group, rest.split(), found)
            elif key == "vt":
                found.places.append([float(word) for word in rest.split()[:2]])
            elif key == "vn":
                found.normals.append([float(word) for word in rest.split()[:3]])
            elif key == "usemtl":
                group = found.groups.setdefault(rest.strip(), _Group())
            elif key == "mtllib":
                found.libraries.append(rest.strip())
            elif key in _LEFT_OUT:
                notes.add(f"it holds {_LEFT_OUT[key]}: they are left out.")
        except ValueError as error:
            raise UserError(f"line {number} cannot be read ({shown(error)}); export it again.") from error
    return found


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\\\n", " ")


def _add_polygon(group: _Group, words: list[str], found: _Lines) -> None:
    """Indices count from 1; negative ones from the last that stands above this line."""
    counts = len(found.points), len(found.places), len(found.normals)
    for word in words:
        corner = [-1, -1, -1]
        for k, text in enumerate(word.split("/")[:3]):
            if text:
                index = int(text)
                corner[k] = index - 1 if index > 0 else counts[k] + index
                if index == 0 or corner[k] < 0:
                    raise ValueError(f"index {index} counts from 1, or back from the {counts[k]} above it")
        group.corners.append((corner[0], corner[1], corner[2]))
    group.sizes.append(len(words))


def _table(rows: list[list[float]], width: int, key: str) -> np.ndarray:
    if any(len(row) < width for row in rows):
        if key == "vt":  # one-dimensional textures
            rows = [(row + [0.0, 0.0])[:2] for row in rows]
        else:
            raise UserError(f"a line {key} has fewer than {width} numbers; export it again.")
    return np.array([row[:width] for row in rows], dtype=np.float64).reshape(-1, width)


def _vertex_colors(rows: list[list[float]], notes: Notes) -> np.ndarray | None:
    """uint8 [V, 3] sRGB where every vertex has one; fractions of 1, or of 255 where some are above 1."""
    painted = sum(len(row) >= 6 for row in rows)
    if painted < len(rows) or not rows:
        if painted:
            notes.add(f"only {painted} of its {len(rows)} vertices have a colour: left out.")
        return None
    colors = np.array([row[-3:] if len(row) == 7 else row[3:6] for row in rows])
    colors = np.nan_to_num(colors)
    return np.round(255.0 * (colors / (255.0 if colors.max() > 1.0 else 1.0)).clip(0.0, 1.0)).astype(np.uint8)


def _materials(path: Path, lines: _Lines, notes: Notes) -> dict[str | None, ObjMaterial]:
    wanted = {name for name, group in lines.groups.items() if group.sizes and name is not None}
    found: dict[str | None, ObjMaterial] = {}
    for library in lines.libraries:
        whole = file_beside(path, library)
        for name in [library] if whole else library.split():
            if file := whole or file_beside(path, name):
                found |= read_materials(file, wanted, notes)
            elif wanted:
                notes.add(f"the material file {shown(name)} is missing: its materials are left out.")
    for name in sorted(wanted - found.keys()):
        if lines.libraries and found:
            notes.add(f"the material {shown(name)} is in none of its material files: left out.")
    if wanted and not lines.libraries:
        notes.add("it names materials and no material file: they are left out.")
    return found


def _part(
    group: _Group,
    points: np.ndarray,
    colors: np.ndarray | None,
    places: np.ndarray,
    normals: np.ndarray,
    material: ObjMaterial | None,
    notes: Notes,
) -> Painted:
    corners = np.array(group.corners, np.int64)
    for k, (table, word) in enumerate(((points, "vertex"), (places, "texture coordinate"), (normals, "normal"))):
        if corners[:, k].max() >= len(table) and (k == 0 or len(table)):
            raise UserError(f"a face names {word} {corners[:, k].max() + 1} of {len(table)}; export it again.")
    triangles, _ = triangulated(points, np.array(group.sizes), corners[:, 0])
    has_normals = bool(len(normals)) and bool((corners[:, 2] >= 0).all())
    textured = None if material is None or material.texture is None else material
    if textured is not None and not (len(places) and (corners[:, 1] >= 0).all()):
        notes.add(f"material {shown(textured.name)} has a texture, its faces no texture coordinates: left out.")
        textured = None
    key = corners * [True, textured is not None, has_normals]
    unique, index = np.unique(key, axis=0, return_inverse=True)
    vertices, faces = points[unique[:, 0]], index.reshape(-1)[triangles]
    shading = normals[unique[:, 2]] if has_normals else None
    own = None if colors is None else colors[unique[:, 0]]
    if textured is not None:
        if own is not None and (own < 255).any():
            notes.add(f"vertex colours beside the texture of material {shown(textured.name)} are left out.")
        uv = textured.placed(places[unique[:, 1]]) * [1.0, -1.0] + [0.0, 1.0]
        return Painted(
            vertices,
            faces,
            uv=uv,
            texture=textured.texture,
            normals=shading,
            sampler=textured.sampler,
            material=textured.material,
        )
    if own is not None and (material is None or (own < 255).any()):
        return Painted(vertices, faces, colors=own, normals=shading)
    if material is None:
        return Painted(vertices, faces, colors=np.tile(BARE, (len(vertices), 1)), normals=shading)
    plain = np.tile(material.color, (len(vertices), 1))
    return Painted(vertices, faces, colors=plain, normals=shading, material=material.material)
