import numpy as np
import pytest
import torch
import trimesh

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.texture import TexturedMesh, TextureSettings, field_colors, texture_mesh
from dreamdist3d.mesh.texture.charts import box_unwrap
from dreamdist3d.mesh.texture.raster import covered_texels, dilate
from tests.mesh.texture.shapes import (
    SHAPES,
    ball,
    checker,
    gradient,
    plate,
    psnr,
    read_albedo,
    ring,
    surface_points,
)

PLAIN = TextureSettings(size=256, normal_map=False, occlusion=False)


@pytest.fixture(scope="module")
def checkered() -> TexturedMesh:
    settings = TextureSettings(size=512, normal_map=False, occlusion=False, supersample=4)
    return texture_mesh(ball(3), checker, settings)


def lower_levels(image: np.ndarray, count: int) -> list[np.ndarray]:
    levels = [image.astype(np.float64)]
    for _ in range(count):
        size = len(levels[-1]) // 2
        levels.append(levels[-1].reshape(size, 2, size, 2, -1).mean(axis=(1, 3)))
    return levels[1:]


def test_the_texture_shows_what_the_colour_function_says(checkered):
    points, uv = surface_points(checkered)
    # Only the edges of the squares differ: a hard edge lies somewhere inside its texels.
    assert psnr(read_albedo(checkered, uv), checker(points, points)) > 25.0
    inside = (np.abs(points / 0.2 - np.round(points / 0.2)) < 0.4).all(axis=1)
    assert np.abs(read_albedo(checkered, uv) - checker(points, points))[inside].max() <= 2 / 255


@pytest.mark.parametrize("shape", SHAPES)
def test_smooth_colours_come_back_within_two_levels(shape):
    mesh = texture_mesh(SHAPES[shape](), gradient, PLAIN)
    assert mesh.warnings == ()
    points, uv = surface_points(mesh)
    error = np.abs(read_albedo(mesh, uv) - gradient(points, points))
    assert np.quantile(error, 0.999) <= 2 / 255
    assert error.max() <= 6 / 255  # at corners a texel reaches around the edge


def test_one_colour_fills_the_whole_image_exactly():
    mesh = texture_mesh(plate(), lambda points, normals: np.full((len(points), 3), 0.4), PLAIN)
    assert (mesh.maps.albedo == 102).all()
    assert mesh.maps.albedo.shape == (256, 256, 3) and mesh.maps.albedo.dtype == np.uint8
    assert mesh.maps.mask.shape == (256, 256) and mesh.maps.mask.dtype == bool
    assert mesh.maps.normal is None and mesh.maps.occlusion is None


def test_the_sides_of_a_thin_plate_keep_their_colours():
    def sides(points, normals):
        return np.where(points[:, 2:] > 0, [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]])

    mesh = texture_mesh(plate(), sides, PLAIN, dense=plate())
    points, uv = surface_points(mesh)
    flat = np.abs(points[:, 2]) > 0.0099
    np.testing.assert_allclose(read_albedo(mesh, uv)[flat], sides(points[flat], None), atol=1e-9)


def test_fine_patterns_are_averaged_in_linear_light():
    def stripes(points, normals):
        return np.repeat((np.floor(points[:, :1] * 4000) % 2), 3, axis=1)

    settings = TextureSettings(size=64, normal_map=False, occlusion=False, supersample=8)
    mean = np.median(texture_mesh(ball(), stripes, settings).maps.albedo)
    assert abs(mean - 188) < 12  # half the light is 188 in sRGB, not 128
    alone = texture_mesh(ball(), stripes, TextureSettings(size=64, normal_map=False, occlusion=False, supersample=1))
    assert set(np.unique(alone.maps.albedo)) == {0, 255}


def test_no_seam_shows_where_charts_meet():
    """The two sides of each seam read the same smooth colour, though their texels lie far apart."""
    mesh = texture_mesh(ball(3), gradient, PLAIN)
    places, which = np.unique(mesh.vertices.round(9), axis=0, return_inverse=True)
    colors = read_albedo(mesh, mesh.uv)
    count = np.bincount(which.reshape(-1))
    for channel in range(3):
        low, high = np.full(len(places), 9.0), np.full(len(places), -9.0)
        np.minimum.at(low, which.reshape(-1), colors[:, channel])
        np.maximum.at(high, which.reshape(-1), colors[:, channel])
        assert (high - low)[count > 1].max() <= 3 / 255
    assert (count > 1).sum() > 50


def test_nothing_foreign_enters_a_chart_at_smaller_mip_levels():
    """Each side of a box has its colour; whoever averages texels down to padding's level sees only that."""
    box = trimesh.creation.box()
    source, faces, uv = box_unwrap(box, 256, padding=8)
    side = np.unique(box.face_normals, axis=0, return_inverse=True)[1].reshape(-1)
    palette = np.random.default_rng(0).integers(0, 256, (6, 3)).astype(np.uint8)
    covered = covered_texels(uv, faces, 256)
    image = np.zeros((256 * 256, 3), dtype=np.uint8)
    image[covered.index] = palette[side[covered.face]]
    filled = dilate(image.reshape(256, 256, 3), covered.mask(256))
    for level, small in enumerate(lower_levels(filled, 2), start=1):
        inside = covered_texels(uv, faces, 256 >> level)
        expected = palette[side[inside.face]]
        assert np.abs(small.reshape(-1, 3)[inside.index] - expected).max() <= 2


def test_without_texels_there_is_nothing_to_dilate():
    empty = np.zeros((8, 8, 3), dtype=np.uint8)
    assert (dilate(empty, np.zeros((8, 8), dtype=bool)) == 0).all()


def test_vertices_and_normals_agree_on_both_sides_of_a_seam(checkered):
    whole = trimesh.Trimesh(checkered.vertices, checkered.faces)  # welded
    assert whole.is_watertight and whole.volume > 0
    np.testing.assert_allclose(np.linalg.norm(checkered.normals, axis=1), 1.0)
    np.testing.assert_allclose(checkered.normals, checkered.vertices / 0.6, atol=0.03)


def test_the_texture_of_a_coarse_mesh_shows_the_dense_one():
    """A cube's texture around a ball inside it: colours and normals are those of the ball."""
    cube = trimesh.creation.box((1.1, 1.1, 1.1))
    cube = trimesh.Trimesh(*trimesh.remesh.subdivide(cube.vertices, cube.faces))
    asked = []

    def color(points, normals):
        asked.append((points, normals))
        return gradient(points, normals)

    texture_mesh(cube, color, PLAIN, dense=ball(4))
    points, normals = asked[0]
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.6, atol=2e-3)
    np.testing.assert_allclose(normals, points / 0.6, atol=0.03)


def test_same_input_gives_the_same_texture():
    settings = TextureSettings(size=128)
    one, two = (texture_mesh(ring(), checker, settings, dense=ring()) for _ in range(2))
    for name in ("albedo", "normal", "occlusion", "mask"):
        np.testing.assert_array_equal(getattr(one.maps, name), getattr(two.maps, name))


def test_a_field_that_is_not_finite_is_named():
    color = field_colors(lambda points: torch.full((len(points), 4), float("nan")), 0.05)
    with pytest.raises(UserError, match="not finite"):
        texture_mesh(ball(2), color, PLAIN)
