"""OBJ files as they are written in the wild."""

from pathlib import Path

import numpy as np
import pytest

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.read import read_file, read_painted
from tests.mesh.reading.files import png, quarters, seen

POINTS = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
SIDES = [(1, 4, 3, 2), (5, 6, 7, 8), (1, 2, 6, 5), (2, 3, 7, 6), (3, 4, 8, 7), (4, 1, 5, 8)]
# The side at z = 1 as its viewer sees it: right is +x, up +y.
UPPER_LEFT, UPPER_RIGHT, LOWER_LEFT = (0.25, 0.75, 1.0), (0.75, 0.75, 1.0), (0.25, 0.25, 1.0)
RED, GREEN, BLUE = [255, 0, 0], [0, 255, 0], [0, 0, 255]


def points(offset: float = 0.0, more: str = "") -> list[str]:
    return [f"v {x + offset} {y} {z}{more}" for x, y, z in POINTS]


def sides(texture: bool = False) -> list[str]:
    return ["f " + " ".join(f"{i}/{k}" if texture else f"{i}" for k, i in enumerate(side, 1)) for side in SIDES]


TEXTURE_PLACES = ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1"]


def write(folder: Path, lines: list[str], mtl: str | None = None, name: str = "box.obj", newline: str = "\n") -> Path:
    folder.mkdir(exist_ok=True)
    if mtl is not None:
        (folder / "m.mtl").write_text(mtl)
        lines = ["mtllib m.mtl", *lines]
    (folder / name).write_bytes(newline.join(lines).encode() + newline.encode())
    return folder / name


def textured_box(folder: Path, map_line: str, **rest) -> Path:
    lines = [*points(), *TEXTURE_PLACES, "usemtl mat", *sides(texture=True)]
    return write(folder, lines, f"newmtl mat\nKd 1 1 1\n{map_line}\n", **rest)


def corners(path: Path) -> list[list[int]]:
    (part,) = read_painted(path)
    return [seen(part, place) for place in (UPPER_LEFT, UPPER_RIGHT, LOWER_LEFT)]


def test_relative_indices_count_from_where_they_stand(tmp_path: Path):
    back = ["f " + " ".join(str(i - 9) for i in side) for side in SIDES]
    (part,) = read_painted(write(tmp_path, ["o a", *points(), *back, "o b", *points(3.0), *back]))
    assert len(part.faces) == 24
    np.testing.assert_allclose(part.vertices.max(axis=0), [4, 1, 1])
    assert (part.vertices[part.faces[:12]][..., 0] <= 1).all() and (part.vertices[part.faces[12:]][..., 0] >= 3).all()


@pytest.mark.parametrize(
    "map_line",
    [
        "map_Kd tex.png",
        "map_Kd textures\\tex.png",
        "map_Kd C:\\Users\\me\\my textures\\TEX.PNG",
        "map_Kd /home/me/project/tex.png",
        "map_Kd .\\Textures/Tex.png",
        "map_kd -blendu on -o 0 0 0 -s 1 1 1 -bm 0.5 tex.png",
        "map_Kd -mm 0 1 with space.png",
    ],
)
def test_textures_are_found_however_they_are_written(tmp_path: Path, map_line: str):
    (tmp_path / "textures").mkdir()
    for name in ("tex.png", "with space.png"):
        (tmp_path / "textures" / name).write_bytes(png(quarters()))
    assert corners(textured_box(tmp_path, map_line)) == [RED, GREEN, BLUE]


def test_options_of_a_texture_move_and_scale_it(tmp_path: Path):
    (tmp_path / "tex.png").write_bytes(png(quarters()))
    # Twice as often, and half a picture to the right: the viewer's upper left shows a whole picture, turned by half.
    found = corners(textured_box(tmp_path, "map_Kd -s 0.5 0.5 -o 0.5 0.5 tex.png"))
    assert found == [GREEN, GREEN, GREEN]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_marks_and_continued_lines(tmp_path: Path, newline: str):
    (tmp_path / "tex.png").write_bytes(png(quarters()))
    path = textured_box(tmp_path, "map_Kd tex.png", newline=newline)
    marked = path.read_bytes().replace(b"f 5/1 6/2 ", b"f 5/1 6/2 \\" + newline.encode())
    path.write_bytes(b"\xef\xbb\xbf" + marked)
    assert corners(path) == [RED, GREEN, BLUE]


def test_a_material_file_below_and_in_another_case_is_found(tmp_path: Path):
    path = textured_box(tmp_path, "map_Kd tex.png")
    (tmp_path / "Materials").mkdir()
    (tmp_path / "m.mtl").rename(tmp_path / "Materials" / "M.MTL")
    (tmp_path / "Materials" / "tex.png").write_bytes(png(quarters()))
    assert corners(path) == [RED, GREEN, BLUE]


def test_vertex_colours_beside_a_plain_material_are_the_paint(tmp_path: Path):
    lines = [*points(more=" 1.0 0.5 0.0"), "usemtl mat", *sides()]
    file = read_file(write(tmp_path, lines, "newmtl mat\nKd 1 1 1\n"))
    assert file.parts[0].colors.tolist() == [[255, 128, 0]] * 8 and file.not_followed == ()


def test_materials_colour_their_own_faces(tmp_path: Path):
    lines = [*points(), "usemtl a", *sides()[:3], "usemtl b", *sides()[3:]]
    parts = read_painted(write(tmp_path, lines, "newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 0 1\nd 0.5\n"))
    assert [part.colors[0].tolist() for part in parts] == [RED, [*BLUE, 128]]
    assert [part.material.alpha_mode for part in parts] == ["OPAQUE", "BLEND"]
    assert [len(part.faces) for part in parts] == [6, 6]


def test_an_opacity_map_cuts_out(tmp_path: Path):
    (tmp_path / "tex.png").write_bytes(png(quarters()))
    mask = np.full((16, 16), 255, np.uint8)
    mask[:8] = 0
    (tmp_path / "mask.png").write_bytes(png(mask))
    (part,) = read_painted(textured_box(tmp_path, "map_Kd tex.png\nmap_d mask.png"))
    assert part.material.alpha_mode == "MASK" and part.texture[0, 0, 3] == 0 and part.texture[-1, 0, 3] == 255


def test_what_is_missing_is_named(tmp_path: Path):
    file = read_file(textured_box(tmp_path / "a", "map_Kd gone.png\nmap_Bump rough.png\nKe 1 0 0"))
    assert file.not_followed == (
        "material mat: its bump map is not kept.",
        "material mat glows: its emission is not kept.",
        "the texture gone.png of material mat is missing: left out.",
    )
    file = read_file(write(tmp_path / "b", ["mtllib gone.mtl", *points(), "usemtl mat", *sides(), "l 1 2"]))
    assert file.not_followed == (
        "it holds lines: they are left out.",
        "the material file gone.mtl is missing: its materials are left out.",
    )
    file = read_file(write(tmp_path / "c", [*points(), "usemtl other", *sides()], "newmtl mat\n"))
    assert file.not_followed == ()[:0] or "other" in file.not_followed[0]


def test_normals_come_along(tmp_path: Path):
    lines = [*points(), "vn 0 0 1", "f 5//1 6//1 7//1 8//1"]
    (part,) = read_painted(write(tmp_path, lines))
    np.testing.assert_allclose(part.normals, [[0, 0, 1]] * 4)


def test_a_concave_polygon_is_filled_inside_only(tmp_path: Path):
    outline = [(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)]
    lines = [*(f"v {x} {y} 0" for x, y in outline), "f 1 2 3 4 5"]
    (part,) = read_painted(write(tmp_path, lines))
    corners = part.vertices[part.faces]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] / 2
    assert (areas > 0).all() and areas.sum() == pytest.approx(10.0)  # the square of 16 less the notch of 6


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("f 1 2 99", "a face names vertex 99 of 8"),
        ("f 1 2 0", "index 0 counts from 1"),
        ("f 1 2 -9", "index -9 counts from 1, or back from the 8 above it"),
        ("f 1 2 x", "line 9 cannot be read"),
        ("v 1 2 nothing", "line 9 cannot be read"),
        ("", "holds no triangles"),
    ],
)
def test_what_is_broken_is_one_line(tmp_path: Path, line: str, match: str):
    with pytest.raises(UserError, match=match):
        read_painted(write(tmp_path, [*points(), line]))


def test_geometry_is_checked_before_it_is_used(tmp_path: Path):
    with pytest.raises(UserError, match="only triangles without area"):
        read_painted(write(tmp_path / "a", ["v 1 0 0", "v 2 0 0", "v 3 0 0", "f 1 2 3"]))
    with pytest.raises(UserError, match="only vertices that are not finite"):
        read_painted(write(tmp_path / "b", ["v inf 0 0", "v 2 nan 0", "v 3 0 0", "f 1 2 3"]))
    file = read_file(write(tmp_path / "c", [*points(), "v nan 0 0", *sides(), "f 1 2 9"]))
    assert len(file.parts[0].faces) == 12
    assert file.not_followed == ("1 triangle with vertices that are not finite: left out.",)
