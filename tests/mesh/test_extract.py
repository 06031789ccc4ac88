import math

import numpy as np
import pytest
import torch
import trimesh

from dreamdist3d.errors import UserError
from dreamdist3d.mesh import MeshSettings, extract_mesh
from dreamdist3d.mesh.extract import extract_surface
from tests.mesh import fields

COARSE = MeshSettings(resolution=64)


def extract(density, settings=COARSE, radius=1.0):
    return extract_mesh(density, fields.look(density, fields.position_color), radius, settings)


def assert_closed_and_outward(mesh: trimesh.Trimesh) -> None:
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume > 0
    outside = mesh.triangles_center + 1e-3 * mesh.face_normals
    assert not mesh.contains(outside[::37]).any()


@pytest.mark.parametrize(
    ("density", "volume", "euler"),
    [
        (fields.sphere, 4 / 3 * math.pi * 0.6**3, 2),
        (fields.torus, 2 * math.pi**2 * 0.6 * 0.2**2, 0),
        (fields.hollow, 4 / 3 * math.pi * 0.6**3, 2),  # the inner shell is nobody's business
    ],
)
def test_volume_and_topology(density, volume, euler):
    mesh = extract(density)
    assert_closed_and_outward(mesh)
    assert mesh.volume == pytest.approx(volume, rel=0.02)
    assert mesh.euler_number == euler


def test_solid_cube_gives_its_own_box():
    mesh = extract(lambda points: torch.full((len(points),), 50.0), radius=0.5)
    assert_closed_and_outward(mesh)
    assert mesh.volume == pytest.approx(1.0, rel=0.02)
    np.testing.assert_allclose(mesh.bounds, [[-0.5] * 3, [0.5] * 3], atol=0.02)


def test_thin_plate_keeps_its_thickness():
    mesh = extract(lambda p: fields.box(p, (-0.75, -0.5, -0.0625), (0.75, 0.5, 0.0625)))  # 4 voxels thick
    assert_closed_and_outward(mesh)
    assert len(mesh.split()) == 1
    np.testing.assert_allclose(mesh.extents, [1.5, 1.0, 0.125], atol=0.015)


def pot(opening: float, points: torch.Tensor) -> torch.Tensor:
    """A thick hollow ball with a round hole in its top."""
    across = points[:, :2].norm(dim=-1)
    shell = (points.norm(dim=-1) - 0.5).abs() - 0.15
    return fields.falling(torch.where(points[:, 2] > 0, torch.maximum(shell, opening - across), shell))


def test_a_hollow_that_leaks_through_a_narrow_hole_is_filled():
    full = 4 / 3 * math.pi * 0.65**3
    sealed, leaking = (
        extract(lambda points: pot(0.045, points), MeshSettings(resolution=64, seal_fraction=fraction))
        for fraction in (0.06, 0.0)  # the hole is three voxels wide of 64
    )
    assert_closed_and_outward(sealed)
    assert sealed.volume == pytest.approx(full, rel=0.02)
    assert leaking.volume < 0.9 * full


def test_a_hollow_with_a_wide_opening_stays_open():
    mesh = extract(lambda points: pot(0.2, points))
    assert_closed_and_outward(mesh)
    assert mesh.volume < 0.85 * 4 / 3 * math.pi * 0.65**3
    assert not mesh.contains([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5]]).any()


def test_boxes_that_touch_in_an_edge_give_a_surface_without_knots():
    low, middle, high = (-0.5, -0.5, -0.5), (0.0, 0.0, 0.5), (0.5, 0.5, 0.5)

    def density(points):
        return torch.maximum(fields.box(points, low, middle), fields.box(points, (0.0, 0.0, -0.5), high))

    for smooth in (0.0, 0.6):
        mesh = extract(density, MeshSettings(resolution=32, smooth_voxels=smooth, taubin_iterations=0))
        assert_closed_and_outward(mesh)
        assert mesh.volume == pytest.approx(0.5, rel=0.1)


def test_surface_is_dense_and_the_mesh_keeps_to_its_budget():
    settings = MeshSettings(resolution=64, max_triangles=2000)
    surface = extract_surface(fields.sphere, 1.0, settings)
    assert_closed_and_outward(surface)
    assert len(surface.faces) > 5000
    assert surface.metadata["threshold"] == settings.threshold
    assert len(extract(fields.sphere, settings).faces) <= 2000


def test_floater_is_dropped_and_large_part_kept():
    def density(points):
        main = fields.sphere(points + torch.tensor([0.5, 0, 0]), radius=0.4)
        second = fields.sphere(points - torch.tensor([0.4, 0, 0]), radius=0.3)
        crumb = fields.sphere(points - torch.tensor([0.8, 0.8, 0.8]), radius=0.08)
        return torch.stack([main, second, crumb]).amax(dim=0)

    parts = extract(density).split()
    assert sorted(round(float(part.centroid[0]), 1) for part in parts) == [-0.5, 0.4]
    assert len(extract(density, MeshSettings(resolution=64, floater_fraction=0.0)).split()) == 3


def test_simplifies_and_stays_closed():
    mesh = extract(fields.torus, MeshSettings(resolution=64, max_triangles=1500))
    assert len(mesh.faces) <= 1500
    assert_closed_and_outward(mesh)
    assert mesh.euler_number == 0
    assert mesh.volume == pytest.approx(2 * math.pi**2 * 0.6 * 0.2**2, rel=0.02)


def test_smoothing_takes_voxel_steps_away_without_shrinking():
    def density(points):
        return 100.0 * (points.norm(dim=-1) < 0.6).float()

    def roughness(mesh):
        return np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.6).std()

    raw = extract(density, MeshSettings(resolution=48, smooth_voxels=0.0, taubin_iterations=0))
    smooth = extract(density, MeshSettings(resolution=48))
    assert roughness(smooth) < 0.7 * roughness(raw)
    assert smooth.volume == pytest.approx(raw.volume, rel=0.02)


def test_grid_values_arrive_in_bounded_chunks():
    sizes = []

    def density(points):
        sizes.append(len(points))
        return fields.sphere(points)

    extract(density, MeshSettings(resolution=96))
    assert max(sizes) <= 2**18
    assert sum(sizes) >= 96**3


def test_empty_field_is_named():
    with pytest.raises(UserError, match=r"asset is empty.*above 10.*highest 3"):
        extract(lambda points: torch.full((len(points),), 3.0))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_field_that_diverged_is_named(bad):
    def density(points):
        values = fields.sphere(points)
        values[len(values) // 2] = bad
        return values

    with pytest.raises(UserError, match="not finite"):
        extract(density)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resolution", 2),
        ("threshold", 0.0),
        ("thresholds", ()),
        ("thresholds", (1.0, -1.0)),
        ("smooth_voxels", -1.0),
        ("seal_fraction", 0.5),
        ("floater_fraction", 1.5),
        ("taubin_iterations", -1),
        ("max_triangles", 3),
    ],
)
def test_settings_name_the_wrong_key(key, value):
    with pytest.raises(UserError, match=key):
        MeshSettings(**{key: value})
