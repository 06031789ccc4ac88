"""PLY files, text and binary, as scanners and modellers write them."""

import struct
from pathlib import Path

import numpy as np
import pytest

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.read import read_file, read_painted
from tests.mesh.reading.files import png, quarters, seen

POINTS = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
QUADS = [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
COLORS = [(220, 30, 30), (30, 180, 30), (30, 60, 220), (240, 200, 20), (200, 20, 200), (20, 200, 200)]
MIDDLES = [(0.4, 0.5, 0), (0.4, 0.5, 1), (0.4, 0, 0.5), (1, 0.4, 0.5), (0.4, 1, 0.5), (0, 0.4, 0.5)]


def write(folder: Path, vertex: str, face: str, rows: list[str], count: int, comment: str = "") -> Path:
    """Text; `vertex` and `face` are the properties beside x, y, z and the list of corners, `count` the faces."""
    head = ["ply", "format ascii 1.0", *([f"comment {comment}"] if comment else []), "element vertex 8"]
    head += [f"property float {axis}" for axis in "xyz"] + [f"property {p}" for p in vertex.split("; ") if p]
    head += [f"element face {count}", "property list uchar int vertex_indices"]
    head += [f"property {p}" for p in face.split("; ") if p]
    path = folder / "a.ply"
    path.write_text("\n".join([*head, "end_header", *rows]) + "\n")
    return path


def vertices(more=lambda point: "") -> list[str]:
    return [" ".join(map(str, point)) + f" {more(point)}" for point in POINTS]


def quads() -> list[str]:
    return ["4 " + " ".join(map(str, quad)) for quad in QUADS]


@pytest.mark.parametrize("mixed", [False, True])
def test_colours_of_faces_end_at_their_edges(tmp_path: Path, mixed: bool):
    rows = [f"{quad} {r} {g} {b}" for quad, (r, g, b) in zip(quads(), COLORS, strict=True)]
    if mixed:  # the first quad as two triangles
        color = " ".join(map(str, COLORS[0]))
        rows = [f"3 0 3 2 {color}", f"3 0 2 1 {color}", *rows[1:]]
    face = "uchar red; uchar green; uchar blue"
    (part,) = read_painted(write(tmp_path, "", face, [*vertices(), *rows], len(rows)))
    assert len(part.faces) == 12
    assert [tuple(seen(part, place)) for place in MIDDLES] == COLORS
    assert tuple(seen(part, (0.999, 0.5, 0))) == COLORS[0] and tuple(seen(part, (1, 0.5, 0.001))) == COLORS[3]


@pytest.mark.parametrize(
    ("properties", "values"),
    [
        ("uchar red; uchar green; uchar blue", "255 51 0"),
        ("uchar diffuse_red; uchar diffuse_green; uchar diffuse_blue", "255 51 0"),
        ("ushort red; ushort green; ushort blue", "65535 13107 0"),
        ("float red; float green; float blue", "1.0 0.2 0.0"),
        ("int r; int g; int b", "255 51 0"),
        ("uchar red; uchar green; uchar blue; uchar alpha", "255 51 0 255"),
        ("uchar red; uchar green; uchar blue; uchar alpha", "255 51 0 0"),
    ],
)
def test_colours_of_any_name_and_type(tmp_path: Path, properties: str, values: str):
    file = read_file(write(tmp_path, properties, "", [*vertices(lambda point: values), *quads()], 6))
    assert (file.parts[0].colors == [255, 51, 0]).all() and file.not_followed == ()


def test_opacity_of_colours_is_named(tmp_path: Path):
    rows = vertices(lambda point: f"9 9 9 {100 + 50 * point[0]}")
    file = read_file(write(tmp_path, "uchar red; uchar green; uchar blue; uchar alpha", "", [*rows, *quads()], 6))
    assert file.not_followed == ("the opacity of its colours is not kept.",)


def test_a_texture_lies_by_vertices_or_by_corners(tmp_path: Path):
    (tmp_path / "Tex.png").write_bytes(png(quarters()))
    rows = [*vertices(lambda point: f"{point[0]} {point[1]}"), *quads()]
    (part,) = read_painted(write(tmp_path, "float s; float t", "", rows, 6, "TextureFile tex.png"))
    assert seen(part, (0.25, 0.75, 1)) == [255, 0, 0] and seen(part, (0.25, 0.25, 1)) == [0, 0, 255]
    rows = [*vertices(), *(f"{quad} 8 0 0 1 0 1 1 0 1" for quad in quads())]
    face = "list uchar float texcoord"
    (part,) = read_painted(write(tmp_path, "", face, rows, 6, "TextureFile tex.png"))
    assert seen(part, (0.25, 0.75, 1)) == [255, 0, 0] and seen(part, (0.75, 0.75, 1)) == [0, 255, 0]
    file = read_file(write(tmp_path, "", face, rows, 6, "TextureFile gone.png"))
    assert file.not_followed == ("the texture gone.png is missing.",)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mixed", [False, True])
def test_binary_files_of_both_orders(tmp_path: Path, order: str, mixed: bool):
    faces = [(0, 3, 2), (0, 2, 1), *QUADS[1:]] if mixed else QUADS
    name = "binary_little_endian" if order == "<" else "binary_big_endian"
    head = f"ply\nformat {name} 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\n"
    head += "property ushort red\nproperty ushort green\nproperty ushort blue\n"
    head += f"element face {len(faces)}\nproperty list uchar int vertex_index\nend_header\n"
    data = b"".join(struct.pack(order + "3f3H", *point, 65535, 0, 32896) for point in POINTS)
    data += b"".join(struct.pack(order + f"B{len(face)}i", len(face), *face) for face in faces)
    (tmp_path / "a.ply").write_bytes(head.encode() + data)
    (part,) = read_painted(tmp_path / "a.ply")
    assert len(part.faces) == 12 and (part.colors == [255, 0, 128]).all()
    np.testing.assert_allclose(np.ptp(part.vertices, axis=0), 1.0)
    (tmp_path / "a.ply").write_bytes(head.encode() + data[:-5])
    with pytest.raises(UserError, match=f"it ends before its {len(faces)} face elements do"):
        read_painted(tmp_path / "a.ply")


def test_strips_are_triangles(tmp_path: Path):
    head = ["ply", "format ascii 1.0", "element vertex 8", *(f"property float {axis}" for axis in "xyz")]
    head += ["element tristrips 1", "property list int int vertex_indices", "end_header"]
    (tmp_path / "a.ply").write_text("\n".join([*head, *vertices(), "8 4 5 7 6 -1 0 3 1", ""]))
    (part,) = read_painted(tmp_path / "a.ply")
    one, two, three = (part.vertices[part.faces[:, k]] for k in range(3))
    np.testing.assert_allclose(np.cross(two - one, three - one), [[0, 0, 1], [0, 0, 1], [0, 0, -1]])


def test_what_is_broken_is_one_line(tmp_path: Path):
    with pytest.raises(UserError, match="a face names vertex 9 of 8"):
        read_painted(write(tmp_path, "", "", [*vertices(), "3 0 1 9"], 1))
    with pytest.raises(UserError, match="8 points and no triangles"):
        read_painted(write(tmp_path, "", "", vertices(), 0))
    with pytest.raises(UserError, match="it ends before its 3 face elements do"):
        read_painted(write(tmp_path, "", "", [*vertices(), "3 0 1 2"], 3))
    for content, match in [(b"ply\n", "no PLY header"), (b"ply\nformat odd 1.0\nend_header\n", "none of PLY's")]:
        (tmp_path / "b.ply").write_bytes(content)
        with pytest.raises(UserError, match=match):
            read_painted(tmp_path / "b.ply")
