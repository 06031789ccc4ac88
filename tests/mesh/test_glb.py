import json
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.mesh import read_mesh, write_glb


def painted_box(extents=(1.0, 2.0, 3.0), center=(5.0, -4.0, 7.0)) -> trimesh.Trimesh:
    """A box in world axes whose vertices at the front (high x) are red, at the left (high y) green, on top blue."""
    mesh = trimesh.creation.box(extents, trimesh.transformations.translation_matrix(center))
    high = mesh.vertices > mesh.vertices.mean(axis=0)
    mesh.visual.vertex_colors = np.where(high, 200, 30).astype(np.uint8)
    return mesh


def document_of(path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    binary, binary_kind = struct.unpack_from("<I4s", data, 20 + size)
    assert (kind, binary_kind) == (b"JSON", b"BIN\0")
    assert 28 + size + binary == len(data)
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def test_axes_base_and_size(tmp_path):
    path = tmp_path / "model.glb"
    write_glb(painted_box(), path)
    mesh = read_mesh(path)
    # World extents (x, y, z) = (1, 2, 3) become (y, z, x); the base stands centred on the origin.
    np.testing.assert_allclose(mesh.bounds, [[-1.0, 0.0, -0.5], [1.0, 3.0, 0.5]], atol=1e-6)
    assert mesh.volume == pytest.approx(6.0)
    # Front (+Z) red, left (+X) green, top (+Y) blue.
    high = mesh.vertices > mesh.bounds.mean(axis=0)
    expected = np.where(high[:, [2, 0, 1]], 200, 30)
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], expected)


def test_normals_point_outward_in_the_file(tmp_path):
    path = tmp_path / "ball.glb"
    ball = trimesh.creation.icosphere(subdivisions=2)
    ball.visual.vertex_colors = np.full((len(ball.vertices), 3), 128, dtype=np.uint8)
    write_glb(ball, path)
    loaded = next(iter(trimesh.load_scene(path, process=False).geometry.values()))
    directions = loaded.vertices - loaded.bounds.mean(axis=0)
    assert (np.einsum("ij,ij->i", loaded.vertex_normals, directions) > 0.9).all()


def test_every_colour_survives(tmp_path):
    path = tmp_path / "gray.glb"
    ball = trimesh.creation.icosphere(subdivisions=3)
    ramp = np.arange(len(ball.vertices)) % 256
    colors = np.stack([ramp, 255 - ramp, (7 * ramp) % 256], axis=1).astype(np.uint8)
    ball.visual.vertex_colors = colors
    write_glb(ball, path)
    np.testing.assert_array_equal(read_mesh(path).visual.vertex_colors[:, :3], colors)


def test_file_is_what_the_standard_asks_for(tmp_path):
    path = tmp_path / "mushroom.glb"
    write_glb(painted_box(), path)
    document, binary = document_of(path)
    primitive = document["meshes"][0]["primitives"][0]
    accessors = {name: document["accessors"][index] for name, index in primitive["attributes"].items()}
    assert set(accessors) == {"POSITION", "NORMAL", "COLOR_0"}
    assert accessors["POSITION"]["min"] == [-1.0, 0.0, -0.5]
    assert accessors["COLOR_0"]["normalized"] is True
    assert document["materials"][primitive["material"]]["pbrMetallicRoughness"]["metallicFactor"] == 0.0
    assert document["nodes"][0]["name"] == "mushroom"
    assert document["buffers"][0]["byteLength"] == len(binary)
    # Linear light in the file: sRGB 200/255 is 0.578 linear.
    view = document["bufferViews"][accessors["COLOR_0"]["bufferView"]]
    stored = np.frombuffer(binary, np.uint16, count=accessors["COLOR_0"]["count"] * 4, offset=view["byteOffset"])
    assert stored.reshape(-1, 4)[:, :3].max() / 65535 == pytest.approx(0.5776, abs=1e-3)


def test_textures_of_others_are_read_at_the_vertices(tmp_path):
    plane = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    image = Image.new("RGB", (8, 8), (10, 20, 200))
    image.paste((220, 30, 40), (4, 0, 8, 8))  # right half
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=image)
    uv = np.array([[0.1, 0.5], [0.9, 0.5], [0.9, 0.5], [0.1, 0.5]])
    plane.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    plane.export(tmp_path / "textured.glb")
    mesh = read_mesh(tmp_path / "textured.glb")
    expected = np.where(mesh.vertices[:, :1] > 0.5, [[220, 30, 40]], [[10, 20, 200]])
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], expected)


def test_several_meshes_come_as_one_where_the_scene_places_them(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(painted_box(center=(0, 0, 0)), transform=trimesh.transformations.translation_matrix((10, 0, 0)))
    scene.add_geometry(painted_box(center=(0, 0, 0)))
    scene.export(tmp_path / "two.glb")
    mesh = read_mesh(tmp_path / "two.glb")
    assert len(mesh.faces) == 24
    np.testing.assert_allclose(mesh.bounds[:, 0], [-0.5, 10.5])


def test_bad_files_are_named(tmp_path):
    broken = tmp_path / "broken.glb"
    write_glb(painted_box(), broken)
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=r"broken\.glb cannot be read"):
        read_mesh(broken)
    (tmp_path / "text.glb").write_text("hello")
    with pytest.raises(UserError, match=r"text\.glb cannot be read"):
        read_mesh(tmp_path / "text.glb")
    with pytest.raises(UserError, match=r"none\.glb does not exist"):
        read_mesh(tmp_path / "none.glb")


def test_nothing_is_left_when_writing_fails(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        write_glb(painted_box(), tmp_path / "file" / "model.glb")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
