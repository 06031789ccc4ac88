"""Files of others."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.read import read_mesh, read_painted

RGB = (200, 60, 20)


def quad(**paint) -> trimesh.Trimesh:
    """A square of one unit that faces +Z, its v axis up."""
    mesh = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)
    if paint:
        mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=trimesh.visual.material.PBRMaterial(**paint))
    return mesh


def quarters() -> Image.Image:
    """Red above left, green above right, blue below left, white below right."""
    image = Image.new("RGB", (16, 16), "white")
    for color, corner in [((255, 0, 0), (0, 0)), ((0, 255, 0), (8, 0)), ((0, 0, 255), (0, 8))]:
        image.paste(color, (*corner, corner[0] + 8, corner[1] + 8))
    return image


def colors_in_the_quarters(path: Path) -> list[list[int]]:
    """Above left, above right, below left."""
    (part,) = read_painted(path)
    places = np.array([[0.25, 0.75, 0.0], [0.75, 0.75, 0.0], [0.25, 0.25, 0.0]])
    corners = part.vertices[part.faces]
    found = []
    for place in places:
        weights = trimesh.triangles.points_to_barycentric(corners, np.repeat(place[None], len(corners), axis=0))
        face = int(weights.min(axis=1).argmax())
        found.append(np.round(255 * part.color_at(np.array([face]), weights[face][None])[0]).astype(int).tolist())
    return found


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_a_texture_lies_the_right_way_up(tmp_path: Path, suffix: str):
    mesh = quad(baseColorTexture=quarters(), metallicFactor=0.0)
    if suffix == "obj":
        mesh.visual.material = mesh.visual.material.to_simple()
    mesh.export(tmp_path / f"quad.{suffix}")
    assert colors_in_the_quarters(tmp_path / f"quad.{suffix}") == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_a_material_without_texture_is_linear_light_in_glb(tmp_path: Path):
    quad(baseColorFactor=[0.5, 0.25, 0.0, 1.0]).export(tmp_path / "plain.glb")
    (part,) = read_painted(tmp_path / "plain.glb")
    # sRGB of linear 0.5 and 0.25 (IEC 61966-2-1); 8 bits of the linear values are kept on the way.
    np.testing.assert_allclose(part.colors, [[188, 137, 0]] * 4, atol=1)


def test_a_factor_tints_the_texture_in_linear_light(tmp_path: Path):
    white = Image.new("RGB", (8, 8), "white")
    quad(baseColorTexture=white, baseColorFactor=[0.5, 1.0, 0.0, 1.0]).export(tmp_path / "tinted.glb")
    (part,) = read_painted(tmp_path / "tinted.glb")
    np.testing.assert_allclose(part.texture[0, 0], [188, 255, 0], atol=1)


@pytest.mark.parametrize("suffix", ["ply", "obj"])
def test_vertex_colours_of_ply_and_obj_are_srgb(tmp_path: Path, suffix: str):
    mesh = quad()
    mesh.visual.vertex_colors = np.tile([*RGB, 255], (4, 1)).astype(np.uint8)
    mesh.export(tmp_path / f"quad.{suffix}")
    np.testing.assert_allclose(read_mesh(tmp_path / f"quad.{suffix}").visual.vertex_colors[:, :3], [RGB] * 4, atol=1)


@pytest.mark.parametrize("suffix", ["ply", "obj", "glb"])
def test_what_has_no_colour_is_light_gray(tmp_path: Path, suffix: str):
    quad().export(tmp_path / f"bare.{suffix}")
    colors = read_mesh(tmp_path / f"bare.{suffix}").visual.vertex_colors[:, :3]
    assert (colors == colors[0, 0]).all() and 90 < colors[0, 0] < 240


def test_each_mesh_keeps_its_own_paint_where_its_scene_places_it(tmp_path: Path):
    scene = trimesh.Scene()
    scene.add_geometry(
        quad(baseColorTexture=quarters()), transform=trimesh.transformations.translation_matrix((5, 0, 0))
    )
    plain = quad()
    plain.visual.vertex_colors = np.full((4, 4), 255, np.uint8)
    scene.add_geometry(plain)
    scene.export(tmp_path / "two.glb")
    parts = sorted(read_painted(tmp_path / "two.glb"), key=lambda part: part.vertices[:, 0].min())
    assert [part.texture is None for part in parts] == [True, False]
    assert parts[1].vertices[:, 0].min() == 5.0


def test_files_that_hold_no_mesh_are_one_line(tmp_path: Path):
    for name, match in [("scene.fbx", "is none of .glb, .gltf, .obj, .ply"), ("gone.glb", "does not exist")]:
        if "gone" not in name:
            (tmp_path / name).write_text("x")
        with pytest.raises(UserError, match=match):
            read_painted(tmp_path / name)
    trimesh.PointCloud([[0, 0, 0], [1, 1, 1]]).export(tmp_path / "points.ply")
    with pytest.raises(UserError, match="2 points and no triangles"):
        read_painted(tmp_path / "points.ply")
