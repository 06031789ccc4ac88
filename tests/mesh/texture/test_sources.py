import numpy as np
import torch
import trimesh

from dreamdist3d.mesh.colors import seen_colors
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.texture import TextureSettings, field_colors, mesh_colors, texture_mesh
from tests.mesh import fields
from tests.mesh.texture.shapes import ball, psnr, read_albedo, surface_points


def painted_square(z: float, colors) -> Painted:
    corners = np.array([[0, 0, z], [1, 0, z], [1, 1, z], [0, 1, z]], dtype=float)
    return Painted(corners, np.array([[0, 1, 2], [0, 2, 3]]), colors=np.asarray(colors, dtype=np.uint8))


def test_vertex_colours_are_interpolated_at_the_nearest_point():
    square = painted_square(0.0, [[0, 0, 0], [200, 0, 0], [200, 100, 0], [0, 100, 0]])
    points = np.random.default_rng(0).random((100, 3)) - [0, 0, 0.5]
    found = mesh_colors(square)(points, None)
    np.testing.assert_allclose(255 * found, points * [200, 100, 0], atol=1e-9)


def test_of_several_meshes_the_nearest_gives_the_colour():
    parts = [painted_square(0.0, np.full((4, 3), 10)), painted_square(1.0, np.full((4, 3), 250))]
    found = mesh_colors(parts)(np.array([[0.5, 0.5, 0.1], [0.5, 0.5, 0.9], [2.0, 2.0, 1.0]]), None)
    np.testing.assert_allclose(255 * found[:, 0], [10, 250, 250])


def test_textures_are_read_where_the_nearest_point_lies():
    square = painted_square(0.0, np.zeros((4, 3)))
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[0, 1] = (255, 128, 0)  # top right
    uv = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    textured = Painted(square.vertices, square.faces, uv=uv, texture=image)
    found = mesh_colors(textured)(np.array([[0.75, 0.75, 0.3], [0.25, 0.25, 0.0]]), None)
    np.testing.assert_allclose(255 * found, [[255, 128, 0], [0, 0, 0]])


def test_a_field_gives_what_a_viewer_sees_of_it():
    points = ball(2).vertices.view(np.ndarray)
    normals = points / 0.6
    look = fields.look(fields.sphere, fields.position_color)
    np.testing.assert_array_equal(field_colors(look, 0.03)(points, normals), seen_colors(points, normals, look, 0.03))


def test_a_texture_baked_from_a_texture_shows_the_same_picture():
    mesh = ball(3)
    mesh.visual.vertex_colors = (127.5 * (mesh.vertices / 0.6) + 127.5).astype(np.uint8)
    settings = TextureSettings(size=256, normal_map=False, occlusion=False)
    once = texture_mesh(mesh, mesh_colors(mesh), settings)
    painted = Painted(once.vertices, once.faces, uv=once.uv, texture=once.maps.albedo)
    twice = texture_mesh(trimesh.Trimesh(mesh.vertices, mesh.faces), mesh_colors(painted), settings)
    points, uv = surface_points(twice)
    assert psnr(read_albedo(twice, uv), mesh_colors(mesh)(points, None)) > 45


def test_reading_stops_where_the_field_has_become_opaque():
    calls = []

    def density(points):
        calls.append(len(points))
        return torch.full((len(points),), 1e4)

    points = np.zeros((50, 3))
    seen_colors(points, np.tile([0.0, 0, 1], (50, 1)), fields.look(density, fields.position_color), 0.1)
    assert sum(calls) == 50
