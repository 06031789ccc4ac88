import numpy as np
import pytest

from dreamdist3d.mesh.axes import placement, to_gltf, to_world

UP, FRONT, LEFT = (0, 0, 1), (1, 0, 0), (0, 1, 0)  # in the world; the object's own left


def test_up_is_y_front_is_z_and_left_is_x_in_gltf():
    np.testing.assert_array_equal(to_gltf(np.array([UP, FRONT, LEFT])), [[0, 1, 0], [0, 0, 1], [1, 0, 0]])


def test_there_and_back_is_nothing_and_no_hand_is_swapped():
    points = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(to_world(to_gltf(points)), points)
    assert np.linalg.det(to_gltf(np.eye(3))) == 1.0


def test_things_stand_centred_on_the_ground():
    placed = placement(np.array([[1.0, 2.0, 3.0], [4.0, 8.0, 5.0]])).points(
        np.array([[1.0, 2.0, 3.0], [4.0, 8.0, 5.0]])
    )
    np.testing.assert_allclose(placed, [[-3.0, 0.0, -1.5], [3.0, 2.0, 1.5]])


def test_a_height_scales_all_axes_alike():
    corners = np.array([[-1.0, -2.0, 1.0], [1.0, 2.0, 5.0]])
    np.testing.assert_allclose(placement(corners, 1.8).points(corners), [[-0.9, 0.0, -0.45], [0.9, 1.8, 0.45]])


def test_what_is_flat_has_no_height():
    with pytest.raises(ValueError, match="flat"):
        placement(np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]), 2.0)
