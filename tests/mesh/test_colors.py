import math

import numpy as np
import pytest
import torch

from dreamdist3d.mesh import MeshSettings, extract_mesh
from dreamdist3d.mesh.colors import linear_to_srgb, srgb_to_linear, surface_colors
from tests.mesh import fields


def test_hard_surface_has_the_field_colour_under_it():
    mesh = extract_mesh(
        fields.sphere, fields.look(fields.sphere, fields.position_color), 1.0, MeshSettings(resolution=64)
    )
    expected = 255 * (mesh.vertices * 0.5 + 0.5)
    # The read is up to a voxel and a half inside: 1.5 * 2/64 * 0.5 * 255 = 6.
    assert np.abs(mesh.visual.vertex_colors[:, :3] - expected).max() <= 6
    assert (mesh.visual.vertex_colors[:, 3] == 255).all()


def test_soft_surface_blends_depths_by_what_they_let_through():
    mesh = extract_mesh(
        fields.sphere, fields.look(fields.sphere, fields.position_color), 1.0, MeshSettings(resolution=64)
    )
    voxel, sigma = 0.1, 5.0

    def red_over_blue(points):
        red = points.norm(dim=-1) > 0.45
        return torch.where(red[:, None], torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0]))

    colors = surface_colors(mesh, fields.look(lambda p: torch.full((len(p),), sigma), red_over_blue), voxel)
    # 12 samples half a voxel apart; those at -0.5, 0, 0.5 and 1 voxels of depth are red.
    passed = math.exp(-sigma * voxel / 2)
    red = (1 - passed**4) / (1 - passed**12)
    assert np.abs(colors[:, 0] / 255 - red).max() < 0.01
    assert np.abs(colors[:, 2] / 255 - (1 - red)).max() < 0.01


def test_a_vertex_without_density_still_gets_a_colour():
    mesh = extract_mesh(
        fields.sphere, fields.look(fields.sphere, fields.position_color), 1.0, MeshSettings(resolution=32)
    )
    colors = surface_colors(mesh, lambda p: torch.tensor([0.0, 0.4, 0.4, 0.4]).expand(len(p), 4), 0.05)
    assert (colors == 102).all()


def test_srgb_and_linear_are_inverse_and_standard():
    values = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-7)
    assert srgb_to_linear(np.array(0.5)) == pytest.approx(0.21404114, abs=1e-7)
