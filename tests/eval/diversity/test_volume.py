import numpy as np
import pytest
import trimesh

from dreamdist3d.eval.diversity import volume_spread, volumes


def test_a_cube_fills_its_share_of_its_bounding_sphere():
    share = (2 / 3**0.5) ** 3 / (4 / 3 * np.pi)
    boxes = [trimesh.creation.box(), trimesh.creation.box((5, 5, 5)).apply_translation((1, 2, 3))]
    np.testing.assert_allclose(volumes(boxes), share)


def test_inside_out_triangles_and_seams_do_not_matter():
    box = trimesh.creation.box()
    inverted = trimesh.Trimesh(box.vertices, box.faces[:, ::-1], process=False)
    torn = trimesh.Trimesh(box.triangles.reshape(-1, 3), np.arange(36).reshape(-1, 3), process=False)
    np.testing.assert_allclose(volumes([inverted, torn]), volumes([box, box]))


def test_an_open_mesh_has_no_volume_and_no_part_in_the_spread():
    box = trimesh.creation.box()
    opened = trimesh.Trimesh(box.vertices, box.faces[1:], process=False)
    found = volumes([box, opened, trimesh.creation.icosphere()])
    assert np.isnan(found).tolist() == [False, True, False]
    closed = found[[0, 2]]
    assert volume_spread(found) == pytest.approx(closed.std(ddof=1) / closed.mean())
    with pytest.raises(ValueError, match="at least two closed"):
        volume_spread(found[:2])
