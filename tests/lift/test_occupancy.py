"""Skipping empty space: what it may skip, and what it must not."""

import pytest
import torch

from dreamdist3d.lift.cameras import CameraRanges, sample_cameras
from dreamdist3d.lift.config import RendererConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.occupancy import OccupancyGrid, occupancy_of
from dreamdist3d.lift.render import render
from tests.lift.fakes import SMALL, AnalyticField, ball

CONFIG = RendererConfig(occupancy_resolution=8, occupancy_threshold=0.05)
RED = torch.tensor([1.0, 0.0, 0.0])


def updated(field, times=4, grid=None):
    grid = grid or OccupancyGrid(CONFIG, field.radius)
    generator = torch.Generator().manual_seed(0)
    for _ in range(times):
        grid.update(field, generator)
    return grid


def points_in(radius, count=20_000):
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(5)) * 2 - 1) * radius


def test_before_the_first_update_everything_counts():
    assert OccupancyGrid(CONFIG, 1.0).occupied(points_in(1.0)).all()


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0])
def test_no_dense_point_is_ever_dropped_and_empty_space_is(radius):
    """A ball two cells wide: one probe a cell and a margin of one cell find all of it."""
    field = ball(radius / 2, 3.0, RED)
    field.radius = radius
    grid = updated(field, times=1)
    points = points_in(radius)
    occupied = grid.occupied(points)
    assert occupied[field.density(points) > 0].all()
    far = points.norm(dim=1) > radius / 2 + 2.01 * (radius / 4) * 3**0.5
    assert far.sum() > 100 and not occupied[far].any()


def test_rendering_is_the_same_with_it_and_asks_less():
    """A new field: a smooth blob whose tail falls under the threshold."""
    field = Field(SMALL, torch.Generator().manual_seed(1))
    cameras = sample_cameras(
        CameraRanges(fov_deg=(40.0, 40.0), distance=(0.6, 0.6)), 1, torch.Generator().manual_seed(2)
    )
    white = torch.ones(3)
    with torch.no_grad():
        whole = render(field, cameras, 16, 48, white)
        skipped = render(field, cameras, 16, 48, white, occupancy_of(field, CONFIG))
    assert len(skipped.density) < 0.9 * len(whole.density) and whole.opacity.max() > 0.5
    torch.testing.assert_close(skipped.rgb, whole.rgb, atol=1e-3, rtol=0)
    torch.testing.assert_close(skipped.opacity, whole.opacity, atol=1e-3, rtol=0)


def test_what_was_dense_fades_and_what_becomes_dense_returns():
    filled, empty = (AnalyticField(lambda p, d=d: (torch.full((len(p),), d), p)) for d in (0.08, 0.0))
    grid = updated(filled, times=1)
    updated(empty, times=2, grid=grid)
    assert grid.occupied(points_in(1.0)).all()  # 0.08 * 0.8^2 = 0.0512
    updated(empty, times=1, grid=grid)
    assert not grid.occupied(points_in(1.0)).any()  # 0.041
    updated(filled, times=1, grid=grid)
    assert grid.occupied(points_in(1.0)).all()


def test_every_cell_is_probed_inside_itself_and_anew():
    asked = []

    def remember(points):
        asked.append(points)
        return torch.zeros(len(points)), points

    updated(AnalyticField(remember, radius=2.0), times=2, grid=OccupancyGrid(CONFIG, 2.0))
    for points in asked:
        cells = ((points / 2.0 + 1) / 2 * 8).floor().long()
        assert torch.equal(cells, torch.cartesian_prod(*[torch.arange(8)] * 3))
    assert not torch.equal(*asked)


def test_the_far_faces_of_the_cube_belong_to_it():
    grid = updated(ball(3.0, 1.0, RED))
    assert grid.occupied(torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [1.0, -1.0, 0.0]])).all()
