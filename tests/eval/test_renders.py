import numpy as np
import pytest
import trimesh

from dreamdist3d.eval.renders import VIEW_NAMES, render_views
from tests.eval.tiny import colored

RED, GREEN, BLUE, YELLOW = (230, 20, 20), (20, 200, 20), (20, 20, 230), (230, 220, 20)


def panels() -> trimesh.Trimesh:
    """In glTF axes: a cube of panels, red at the front (+Z), green left (+X), blue back, yellow right."""
    sides = []
    for axis, sign, rgb in [(2, 1, RED), (0, 1, GREEN), (2, -1, BLUE), (0, -1, YELLOW)]:
        extents, center = np.ones(3), np.zeros(3)
        extents[axis], center[axis] = 0.02, 0.5 * sign
        box = trimesh.creation.box(extents, trimesh.transformations.translation_matrix(center))
        sides.append(colored(box, rgb))
    return trimesh.util.concatenate(sides)


def middle(picture: np.ndarray) -> np.ndarray:
    size = len(picture)
    return picture[size // 2 - 4 : size // 2 + 4, size // 2 - 4 : size // 2 + 4].reshape(-1, 3).mean(axis=0)


def test_each_view_sees_its_side():
    views = render_views(panels(), 64)
    assert views.shape == (4, 64, 64, 3) and views.dtype == np.uint8
    assert VIEW_NAMES == ("front", "left", "back", "right")
    for picture, rgb in zip(views, (RED, GREEN, BLUE, YELLOW), strict=True):
        np.testing.assert_allclose(middle(picture), rgb, atol=12)


def test_left_of_the_object_is_right_in_its_front_view_and_up_is_up():
    high = colored(trimesh.creation.icosphere(radius=0.2), RED).apply_translation((0, 1, 0))
    left = colored(trimesh.creation.icosphere(radius=0.2), GREEN).apply_translation((0.8, 0, 0))
    low = colored(trimesh.creation.icosphere(radius=0.2), BLUE).apply_translation((-0.8, -1, 0))
    front = render_views(trimesh.util.concatenate([high, left, low]), 64)[0].astype(int)

    def centre(channel):
        others = [c for c in range(3) if c != channel]
        rows, columns = np.nonzero(front[..., channel] > front[..., others].max(axis=-1) + 60)
        return rows.mean(), columns.mean()

    (red_row, red_column), (green_row, green_column), (blue_row, blue_column) = map(centre, range(3))
    assert red_row < green_row < blue_row
    assert blue_column < red_column < green_column


def test_place_and_size_do_not_show():
    mesh = panels()
    moved = mesh.copy()
    moved.apply_scale(7.0)
    moved.apply_translation((100, -50, 20))
    difference = np.abs(render_views(mesh, 48).astype(int) - render_views(moved, 48))
    assert np.percentile(difference, 99.5) <= 2  # a ray may fall on the other side of an edge


def test_the_object_fills_the_picture_and_stays_inside_it():
    ball = colored(trimesh.creation.icosphere(subdivisions=4), RED)
    for picture in render_views(ball, 64):
        rows = np.nonzero((picture[..., 1] < 128).any(axis=1))[0]
        assert 1 <= rows[0] <= 6 and 57 <= rows[-1] <= 62
        assert (picture[[0, -1]] == 255).all() and (picture[:, [0, -1]] == 255).all()


def test_colours_are_interpolated_inside_a_triangle():
    plane = trimesh.Trimesh([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    plane.visual.vertex_colors = [[0, 0, 0, 255], [200, 0, 0, 255], [200, 0, 0, 255], [0, 0, 0, 255]]
    row = render_views(plane, 64)[0][32, :, 0].astype(int)
    inside = np.nonzero(render_views(plane, 64)[0][32, :, 1] == 0)[0]
    ramp = row[inside]
    assert ramp[0] < 10 and ramp[-1] > 180
    assert (np.diff(ramp) >= 0).all() and np.diff(ramp).max() < 10


def test_a_mesh_in_one_point_is_refused():
    with pytest.raises(ValueError, match="without extent"):
        render_views(colored(trimesh.Trimesh(np.zeros((3, 3)), [[0, 1, 2]], process=False), RED), 16)
