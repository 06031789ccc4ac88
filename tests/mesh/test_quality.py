import math

import numpy as np
import pytest
import trimesh

from dreamdist3d.mesh.nearest import nearest_on
from dreamdist3d.mesh.quality import measure_quality


def test_figures_of_a_box_are_exact():
    quality = measure_quality(trimesh.creation.box((1.0, 2.0, 3.0)))
    assert (quality.triangles, quality.components, quality.watertight) == (12, 1, True)
    assert (quality.euler_number, quality.genus) == (2, 0)
    assert quality.area == pytest.approx(22.0) and quality.volume == pytest.approx(6.0)
    assert quality.extents == pytest.approx((1.0, 2.0, 3.0))
    assert quality.deviation_mean is None and quality.deviation_max is None


def test_a_ring_and_a_ball_have_one_handle():
    ring = trimesh.creation.torus(0.6, 0.2)
    ball = trimesh.creation.icosphere(radius=0.1)
    quality = measure_quality(trimesh.util.concatenate([ring, ball]))
    assert (quality.components, quality.euler_number, quality.genus) == (2, 2, 1)


def test_an_open_mesh_has_neither_volume_nor_genus():
    box = trimesh.creation.box()
    quality = measure_quality(trimesh.Trimesh(box.vertices, box.faces[1:], process=False))
    assert not quality.watertight
    assert quality.volume is None and quality.genus is None


def test_deviation_is_the_distance_between_parallel_surfaces():
    inner, outer = trimesh.creation.box((1.0, 1.0, 1.0)), trimesh.creation.box((1.2, 1.2, 1.2))
    quality = measure_quality(inner, outer)
    # Everything on the inner box is 0.1 away; so are the outer's points above the inner's sides.
    assert 0.1 <= quality.deviation_mean <= 0.11
    assert 0.1 <= quality.deviation_max <= 0.1 * math.sqrt(3) + 1e-9
    assert measure_quality(inner, inner).deviation_max == pytest.approx(0.0, abs=1e-9)


def test_deviation_weighs_by_area():
    flat = trimesh.Trimesh([[0, 0, 0], [3, 0, 0], [3, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    step = trimesh.Trimesh(
        [[0, 0, 0], [3, 0, 0], [3, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]],
        [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]],
        process=False,
    )
    # A third as much area again at distance 1 one way, nothing the other: (1/4 + 0) / 2.
    assert measure_quality(step, flat).deviation_mean == pytest.approx(0.125)
    assert measure_quality(step, flat).deviation_max == pytest.approx(1.0)


def test_nearest_points_are_those_of_brute_force():
    mesh = trimesh.creation.icosphere(subdivisions=1)
    points = np.random.default_rng(0).normal(size=(200, 3))
    found = nearest_on(points, mesh.vertices, mesh.faces)
    expected, distance, _ = trimesh.proximity.closest_point_naive(mesh, points)
    np.testing.assert_allclose(found.points, expected, atol=1e-9)
    np.testing.assert_allclose(found.distance, distance, atol=1e-9)
    np.testing.assert_allclose(np.einsum("nk,nkj->nj", found.weights, mesh.triangles[found.face]), expected, atol=1e-9)
    assert nearest_on(points[:1], mesh.vertices, mesh.faces).points.shape == (1, 3)
