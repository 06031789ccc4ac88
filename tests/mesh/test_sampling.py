"""Grids of a field's values."""

import numpy as np
import pytest
import torch

from dreamdist3d.lift.config import GeometryConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.mesh.sampling import sample_grid, sample_near_surface
from dreamdist3d.mesh.surface import closed_surface
from tests.mesh import fields


def test_values_lie_at_the_voxels_centres():
    grid = sample_grid(lambda points: points @ torch.tensor([100.0, 10.0, 1.0]), 1.0, 4, "cpu")
    centres = np.array([-0.75, -0.25, 0.25, 0.75])
    expected = 100 * centres[:, None, None] + 10 * centres[:, None] + centres
    np.testing.assert_allclose(grid, expected, rtol=1e-6)


@pytest.mark.parametrize("resolution", [63, 64])
@pytest.mark.parametrize("shape", [fields.sphere, fields.torus, fields.hollow])
def test_near_the_surface_nothing_is_left_out(shape, resolution):
    asked = []

    def density(points):
        asked.append(len(points))
        return shape(points)

    grid = sample_near_surface(density, 1.0, resolution, fields.SURFACE, "cpu")
    assert sum(asked) < 0.6 * resolution**3
    whole = sample_grid(shape, 1.0, resolution, "cpu")
    near = (whole > fields.SURFACE / 4) & (whole < fields.SURFACE * 2)
    assert near.sum() > 1000
    np.testing.assert_array_equal(grid[near], whole[near])
    np.testing.assert_array_equal(grid > fields.SURFACE, whole > fields.SURFACE)


def test_a_real_field_has_the_same_surface_either_way():
    config = GeometryConfig(
        radius=0.5, levels=(4, 8, 32), level_start=(0.0, 0.0, 0.0), density_gain=20.0, blob_std=0.25
    )
    field = Field(config, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for grid in field.grids:
            grid *= 100.0
    near = sample_near_surface(field.density, 0.5, 64, 10.0, "cpu")
    one, two = (closed_surface(grid, 0.5, 10.0, 0.6) for grid in (near, sample_grid(field.density, 0.5, 64, "cpu")))
    assert len(two.faces) > 2000 and len(one.faces) == len(two.faces)
    assert np.abs(one.vertices - two.vertices).max() < 0.02 * (1.0 / 64)


def test_values_that_are_not_finite_are_told():
    with pytest.raises(Exception, match="not finite"):
        sample_near_surface(lambda points: fields.sphere(points) * float("nan"), 1.0, 16, 10.0, "cpu")
