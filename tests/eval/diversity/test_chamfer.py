import numpy as np
import pytest
import torch
import trimesh

from dreamdist3d.eval.diversity import chamfer_distances
from dreamdist3d.eval.diversity.chamfer import surface_points


def shapes() -> list[trimesh.Trimesh]:
    return [trimesh.creation.icosphere(subdivisions=4), trimesh.creation.box(), trimesh.creation.cylinder(0.1, 2)]


def test_equals_the_double_loop_over_the_same_points():
    meshes = shapes()
    distances = chamfer_distances(meshes, points=200)
    clouds = [surface_points(mesh, 200) for mesh in meshes]
    for a in range(3):
        for b in range(3):
            table = np.linalg.norm(clouds[a][:, None] - clouds[b][None], axis=-1)
            expected = (table.min(axis=1).mean() + table.min(axis=0).mean()) / 2
            assert float(distances[a, b]) == pytest.approx(expected, abs=1e-12)


def test_size_and_place_are_no_shape_but_proportion_is():
    box = trimesh.creation.box((1, 2, 1))
    moved = box.copy().apply_scale(7).apply_translation((3, 4, 5))
    longer = trimesh.creation.box((1, 4, 1))
    distances = chamfer_distances([box, moved, longer])
    assert float(distances[0, 1]) == pytest.approx(0.0, abs=1e-9)
    assert float(distances[0, 2]) > 0.05


def test_the_floor_of_two_triangulations_of_one_shape_is_what_the_docstring_says():
    coarse, fine = (trimesh.creation.icosphere(subdivisions=level) for level in (4, 5))
    assert 0.005 < float(chamfer_distances([coarse, fine])[0, 1]) < 0.04


def test_concentric_spheres_after_framing_are_the_same_and_a_rod_is_not():
    distances = chamfer_distances(shapes())
    assert torch.equal(distances, distances.T) and float(distances.diagonal().sum()) == 0
    assert float(distances[0, 2]) > float(distances[0, 1]) > 0.1


def test_points_are_the_same_at_every_call_and_lie_on_the_surface():
    ball = shapes()[0]
    points = surface_points(ball, 500)
    np.testing.assert_array_equal(points, surface_points(ball, 500))
    assert np.abs(np.linalg.norm(points, axis=1) - 1).max() < 0.01
    assert np.abs(points.mean(axis=0)).max() < 0.1


def test_a_mesh_without_area_is_refused():
    line = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False)
    with pytest.raises(ValueError, match="without area"):
        chamfer_distances([line])
