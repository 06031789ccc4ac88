"""What of a detailed surface a simplified one depicts."""

import numpy as np
import trimesh

from dreamdist3d.mesh.nearest import nearest_on
from dreamdist3d.mesh.texture.bake import depicted_places
from dreamdist3d.mesh.texture.embree import UnitScene
from tests.mesh.texture.shapes import ball


def on_sphere(count, radius, seed=0):
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return radius * normals, normals


def test_places_lie_along_the_normals():
    surface = ball(5)
    for radius in (0.598, 0.6, 0.602):
        points, normals = on_sphere(2000, radius)
        places, smooth = depicted_places(surface, points, normals)
        across = places - normals * np.einsum("nj,nj->n", places, normals)[:, None]
        assert np.linalg.norm(across, axis=1).max() < 1e-6
        assert nearest_on(places, surface.vertices, surface.faces).distance.max() < 1e-6
        np.testing.assert_allclose(smooth, normals, atol=0.01)


def test_far_from_the_surface_it_is_the_nearest_place():
    surface = ball(4)
    points, normals = on_sphere(500, 0.9)
    places, _ = depicted_places(surface, points, normals)
    expected = nearest_on(points, surface.vertices, surface.faces).points
    np.testing.assert_allclose(places, expected, atol=1e-9)


def test_the_other_side_of_a_thin_plate_is_not_taken():
    plate = trimesh.creation.box((1.0, 1.0, 1e-4))
    points = np.array([[0.1, 0.2, -1e-4], [0.3, -0.2, 0.0], [0.2, 0.1, 5e-5]])  # under, within, on the top
    up = np.tile([0.0, 0.0, 1.0], (3, 1))
    places, _ = depicted_places(plate, points, up)
    np.testing.assert_allclose(places[1:, 2], 5e-5, atol=1e-7)
    np.testing.assert_allclose(places[:, :2], points[:, :2], atol=1e-6)


def test_rays_meet_what_is_within_their_limit():
    scene = UnitScene(trimesh.creation.box((2.0, 2.0, 2.0)))
    origins = scene.place(np.array([[0.3, 0.2, 2.0], [0.3, 0.2, 2.0], [5.0, 5.0, 2.0]]))
    down = np.tile(np.float32([0, 0, -1]), (3, 1))
    unit = 1.0 / np.sqrt(12.0)  # a unit of the box in diagonals
    met = scene.first(origins, down, np.float32([1.01, 0.99, 9.0]) * np.float32(unit))
    assert (met.face >= 0).tolist() == [True, False, False]
    np.testing.assert_allclose(met.distance[0], unit, rtol=1e-6)
    np.testing.assert_allclose(met.weights.sum(axis=1), 1.0)
    assert scene.free(origins, down).tolist() == [False, False, True]
