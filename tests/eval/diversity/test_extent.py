import numpy as np
import pytest
import trimesh

from dreamdist3d.eval.diversity import extent_spread, extents


def test_extents_are_in_radii_of_the_bounding_sphere():
    box = trimesh.creation.box((3, 4, 12)).apply_translation((5, 5, 5))  # diagonal 13
    np.testing.assert_allclose(extents([box])[0], np.array([3, 4, 12]) * 2 / 13)
    np.testing.assert_allclose(extents([box.copy().apply_scale(9)]), extents([box]))


def test_spread_is_the_deviation_over_assets():
    values = np.random.default_rng(0).random((6, 3))
    expected = np.sqrt(np.mean([np.std(column, ddof=1) ** 2 for column in values.T]))
    assert extent_spread(values) == pytest.approx(expected)


def test_what_has_no_extent_or_no_company_is_refused():
    with pytest.raises(ValueError, match="without extent"):
        extents([trimesh.Trimesh(np.zeros((3, 3)), [[0, 1, 2]], process=False)])
    with pytest.raises(ValueError, match="at least two"):
        extent_spread(np.ones((1, 3)))
