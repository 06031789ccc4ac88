import numpy as np
import pytest
import trimesh

from dreamdist3d.mesh.nearest import nearest_on
from dreamdist3d.mesh.painted import sample_texture
from dreamdist3d.mesh.texture import TextureSettings, texture_mesh
from dreamdist3d.mesh.texture.occlusion import bake_occlusion
from dreamdist3d.mesh.texture.raster import Texels, unit
from dreamdist3d.mesh.texture.tangents import tangent_space, vertex_tangents
from tests.mesh.texture.shapes import ball, gradient, surface_points


def bumpy(subdivisions: int) -> trimesh.Trimesh:
    mesh = ball(subdivisions)
    waves = np.sin(14 * mesh.vertices).prod(axis=1)
    return trimesh.Trimesh(mesh.vertices * (1 + 0.02 * waves[:, None]), mesh.faces)


def shaded_normals(mesh, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What a shader that follows glTF makes of the normal map, at points inside triangles."""

    def at(values):
        return np.einsum("nk,nkc->nc", weights, values[mesh.faces[face]])

    normals = at(mesh.normals)
    tangents = at(vertex_tangents(mesh.vertices, mesh.faces, mesh.normals, mesh.uv))
    bitangents = np.sign(tangents[:, 3:]) * np.cross(normals, tangents[:, :3])
    local = 2 * sample_texture(mesh.maps.normal, at(mesh.uv)) - 1
    return unit(local[:, :1] * tangents[:, :3] + local[:, 1:2] * bitangents + local[:, 2:] * normals)


def test_a_shader_gets_the_dense_normals_back():
    dense = bumpy(5)
    mesh = texture_mesh(ball(3), gradient, TextureSettings(size=512, occlusion=False), dense)
    plain = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    points, face = trimesh.sample.sample_surface(plain, 5000, seed=0)
    weights = trimesh.triangles.points_to_barycentric(plain.triangles[face], points)
    found = shaded_normals(mesh, face, weights)
    true = dense.face_normals[nearest_on(points, dense.vertices, dense.faces).face]
    angle = np.degrees(np.arccos(np.einsum("nj,nj->n", found, true).clip(-1, 1)))
    flat = np.degrees(np.arccos(np.einsum("nj,nj->n", unit(points), true).clip(-1, 1)))
    assert np.median(flat) > 4  # without the map
    assert np.median(angle) < 2
    assert np.quantile(angle, 0.99) < 8


def test_green_points_up_in_the_picture():
    """A ramp that rises towards the top of the picture leans its normal away from there: green below half."""
    uv = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
    faces, up = np.array([[0, 1, 2], [0, 2, 3]]), np.tile([0.0, 0, 1], (4, 1))
    tangents = vertex_tangents(square, faces, up, uv)
    np.testing.assert_allclose(tangents, np.tile([1.0, 0, 0, 1], (4, 1)), atol=1e-12)
    ramp = unit(np.array([[0.0, -0.3, 1.0]]))
    local = tangent_space(ramp, up[:1], tangents[:1])
    np.testing.assert_allclose(local, ramp, atol=1e-12)


def test_mirrored_charts_have_a_negative_sign_and_the_same_normals():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]])
    faces, up = np.array([[0, 1, 2], [0, 2, 3]]), np.tile([0.0, 0, 1], (4, 1))
    mirrored = vertex_tangents(square, faces, up, np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]))
    np.testing.assert_allclose(mirrored, np.tile([-1.0, 0, 0, -1], (4, 1)), atol=1e-12)
    local = tangent_space(unit(np.array([[0.2, -0.3, 1.0]])), up[:1], mirrored[:1])
    np.testing.assert_allclose(local, unit(np.array([[-0.2, -0.3, 1.0]])), atol=1e-12)


def test_frames_undo_what_a_shader_does():
    random = np.random.default_rng(0)
    normals, directions = unit(random.normal(size=(500, 3))) * 0.9, unit(random.normal(size=(500, 3)))
    tangents = np.concatenate([random.normal(size=(500, 3)), random.choice([-1.0, 1.0], (500, 1))], axis=1)
    local = tangent_space(directions, normals, tangents)
    bitangents = tangents[:, 3:] * np.cross(normals, tangents[:, :3])
    shaded = unit(local[:, :1] * tangents[:, :3] + local[:, 1:2] * bitangents + local[:, 2:] * normals)
    np.testing.assert_allclose(shaded, directions, atol=1e-9)


def test_vertices_without_texture_area_still_get_a_unit_tangent():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0.0]])
    tangents = vertex_tangents(square, np.array([[0, 1, 2]]), np.tile([0.0, 0, 1], (3, 1)), np.zeros((3, 2)))
    np.testing.assert_allclose(np.linalg.norm(tangents[:, :3], axis=1), 1.0)
    np.testing.assert_allclose(tangents[:, 2], 0.0, atol=1e-12)


def test_a_mesh_that_is_its_own_surface_has_no_normal_map():
    assert texture_mesh(ball(2), gradient, TextureSettings(size=64)).maps.normal is None


def tile_of(points: int) -> Texels:
    """A square of texels side by side, one for each point."""
    side = int(points**0.5)
    index = (np.arange(side)[:, None] * 64 + np.arange(side)).reshape(-1)
    return Texels(index, np.zeros(points, np.int64), np.tile([1.0, 0, 0], (points, 1)))


@pytest.mark.parametrize("height", [0.0, 0.3, -0.5])
def test_a_bowl_shades_itself_as_the_form_factor_says(height):
    """Inside a sphere cut at a height, a point sees (1 - height) / 2 of its sky, wherever it is (Sparrow 1963)."""
    sphere = trimesh.creation.icosphere(subdivisions=5)
    bowl = trimesh.Trimesh(sphere.vertices, sphere.faces[sphere.triangles_center[:, 2] < height], process=False)
    # Low points, a small way inside, in groups of 16 that share their rays.
    places = unit(np.array([[0.1, 0.2, -1.0], [0.5, 0.0, -1.0], [0.0, -0.9, -1.0]]))
    for place in places:
        points = np.tile(place * 0.998, (256, 1))
        shade = bake_occlusion(tile_of(256), points, -points / 0.998, bowl, 64).reshape(16, 16)
        assert shade[4:12, 4:12].mean() / 255 == pytest.approx((1 - height) / 2, abs=0.035)


def test_convex_shapes_see_the_whole_sky_and_corners_half_of_it():
    mesh = texture_mesh(ball(2), gradient, TextureSettings(size=128))
    assert (mesh.maps.occlusion == 255).all()
    corner = trimesh.creation.box((2, 2, 2))
    floor = np.stack([np.full(256, -0.995), np.linspace(-0.3, 0.3, 256), np.full(256, -1.0)], axis=1)
    walls = corner.submesh([(corner.face_normals @ [0, 0, 1] < -0.5) | (corner.face_normals @ [1, 0, 0] < -0.5)])[0]
    shade = bake_occlusion(tile_of(256), floor, np.tile([0.0, 0, 1], (256, 1)), walls, 64).reshape(16, 16)
    assert shade[4:12, 4:12].mean() / 255 == pytest.approx(0.5, abs=0.05)


def test_occlusion_is_read_where_the_surface_hides():
    """The inner side of a ring sees less than the outer."""
    ring = trimesh.creation.torus(0.6, 0.25, major_sections=64, minor_sections=32)
    mesh = texture_mesh(ring, gradient, TextureSettings(size=256))
    points, uv = surface_points(mesh)
    across = np.linalg.norm(points[:, :2], axis=1)
    seen = sample_texture(mesh.maps.occlusion[..., None], uv)[:, 0]
    assert seen[across > 0.7].min() > 0.97
    assert seen[across < 0.4].mean() < 0.85
