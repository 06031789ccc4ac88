import numpy as np
import pytest
import trimesh

from dreamdist3d.mesh.fans import split_fans
from dreamdist3d.mesh.repair import repair


def bare(vertices, faces) -> trimesh.Trimesh:
    return trimesh.Trimesh(np.asarray(vertices, dtype=float), faces, process=False)


def assert_sound(mesh: trimesh.Trimesh) -> None:
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume > 0


def joined(*meshes: trimesh.Trimesh) -> trimesh.Trimesh:
    return trimesh.util.concatenate(meshes)


def test_a_sound_mesh_stays_as_it_is():
    ball = trimesh.creation.icosphere(subdivisions=3)
    mesh = repair(ball)
    assert_sound(mesh)
    assert len(mesh.faces) == len(ball.faces)
    np.testing.assert_array_equal(np.sort(mesh.vertices, axis=0), np.sort(ball.vertices, axis=0))


@pytest.mark.parametrize("missing", [[5], [5, 6, 7]])
def test_small_holes_are_closed(missing):
    ball = trimesh.creation.icosphere(subdivisions=3)
    mesh = repair(bare(ball.vertices, np.delete(ball.faces, missing, axis=0)), largest_hole=0.3)
    assert_sound(mesh)
    assert mesh.volume == pytest.approx(ball.volume, rel=1e-3)


def test_a_flat_hole_is_closed_exactly():
    box = trimesh.creation.box()
    mesh = repair(bare(box.vertices, box.faces[1:]), largest_hole=10.0)
    assert_sound(mesh)
    assert mesh.volume == pytest.approx(1.0)


def test_large_openings_are_taken_for_meant():
    ball = trimesh.creation.icosphere(subdivisions=3)
    bowl = bare(ball.vertices, ball.faces[ball.triangles_center[:, 2] < 0.2])
    mesh = repair(bowl)
    assert not mesh.is_watertight
    assert len(mesh.faces) == len(bowl.faces)


def test_what_is_inside_out_is_turned():
    ball = trimesh.creation.icosphere(subdivisions=2)
    assert_sound(repair(bare(ball.vertices, ball.faces[:, ::-1])))


def test_windings_that_disagree_are_made_to_agree():
    ball = trimesh.creation.icosphere(subdivisions=2)
    faces = ball.faces.copy()
    faces[::3] = faces[::3, ::-1]
    mesh = repair(bare(ball.vertices, faces))
    assert_sound(mesh)
    assert mesh.volume == pytest.approx(ball.volume)


def test_loose_triangles_are_welded_and_empty_and_repeated_ones_dropped():
    ball = trimesh.creation.icosphere(subdivisions=2)
    soup = np.concatenate([ball.triangles.reshape(-1, 3), ball.triangles[:1].reshape(-1, 3), ball.vertices[:1]])
    count = 3 * len(ball.faces)
    faces = np.arange(count + 3).reshape(-1, 3).tolist() + [[0, 0, count + 3]]
    mesh = repair(bare(soup, faces))
    assert_sound(mesh)
    assert len(mesh.faces) == len(ball.faces)


@pytest.mark.parametrize("shift", [(1, 1, 0), (1, 1, 1)])
def test_boxes_that_touch_in_an_edge_or_a_corner_come_apart(shift):
    one, two = trimesh.creation.box(), trimesh.creation.box()
    two.apply_translation(shift)
    mesh = repair(joined(one, two))
    assert_sound(mesh)
    assert len(mesh.vertices) == 16 and mesh.body_count == 2
    assert mesh.volume == pytest.approx(2.0)


def test_a_fin_leaves_the_body_closed():
    box = trimesh.creation.box()
    edge = box.faces[0, :2]
    mesh = repair(bare([*box.vertices, (3, 3, 3)], [*box.faces.tolist(), [edge[1], edge[0], 8]]), largest_hole=0.0)
    body = max(mesh.split(only_watertight=False), key=lambda part: len(part.faces))
    assert_sound(body)
    assert body.volume == pytest.approx(1.0) and len(body.faces) == 12


def test_an_inner_shell_keeps_facing_inward():
    outer, inner = trimesh.creation.icosphere(subdivisions=2), trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    inner.invert()
    assert repair(joined(outer, inner)).volume == pytest.approx(outer.volume * (1 - 0.5**3))


def test_fans_of_a_pinched_vertex_are_told_apart():
    faces, source = split_fans(np.array([[0, 1, 2], [0, 2, 3], [0, 4, 5]]))
    assert len(source) == 7 and sorted(source) == [0, 0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(source[faces], [[0, 1, 2], [0, 2, 3], [0, 4, 5]])
    assert faces[0, 0] == faces[1, 0] != faces[2, 0]


def test_a_sheet_and_a_crumb_stay_sheets():
    """Closing their borders would lay a second triangle on each."""
    box = trimesh.creation.box()
    crumb = trimesh.Trimesh([[2, 0, 0], [2.02, 0, 0], [2, 0.02, 0]], [[0, 1, 2]])
    sheet = trimesh.Trimesh([[3, 0, 0], [3.02, 0, 0], [3.02, 0.02, 0], [3, 0.02, 0]], [[0, 1, 2], [0, 2, 3]])
    mended = repair(trimesh.util.concatenate([box, crumb, sheet]))
    assert len(mended.faces) == 15
    corners = np.sort(mended.faces, axis=1)
    assert len(np.unique(corners, axis=0)) == 15


def test_parts_without_area_are_left_out_and_counted():
    box = trimesh.creation.box()
    lines = trimesh.Trimesh([[2, 0, 0], [3, 0, 0], [4, 0, 0], [5, 0, 0]], [[0, 1, 2], [1, 3, 2]], process=False)
    mended = repair(trimesh.util.concatenate([box, lines]))
    assert mended.is_watertight and len(mended.faces) == 12 and mended.metadata["without_area"] == 2
    np.testing.assert_allclose(mended.bounds, box.bounds)
