"""The multi-resolution field against sums and interpolations written out."""

import contextlib
import itertools
import math
from dataclasses import replace

import pytest
import torch

from dreamdist3d.lift import Field
from dreamdist3d.lift.config import GeometryConfig

CONFIG = GeometryConfig(
    radius=0.8, levels=(3, 5, 9), level_start=(0.0, 0.25, 0.5), n_features=4, hidden=6, density_gain=3.0
)


@pytest.fixture
def field():
    field = Field(CONFIG, torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in field.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return field


@pytest.fixture
def points():
    return (torch.rand(40, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1) * 0.8


def trilinear(grid, place):
    """The value of one [C, n, n, n] grid, indexed [x, y, z], at `place` in [0, 1]^3 (corners are samples)."""
    n = grid.shape[-1]
    low = [min(int(p * (n - 1)), n - 2) for p in place]
    share = [p * (n - 1) - first for p, first in zip(place, low, strict=True)]
    total = torch.zeros(grid.shape[0], dtype=grid.dtype)
    for corner in itertools.product((0, 1), repeat=3):
        weight = math.prod(s if c else 1 - s for s, c in zip(share, corner, strict=True))
        total += weight * grid[(slice(None), *(first + c for first, c in zip(low, corner, strict=True)))]
    return total


@pytest.mark.parametrize("progress,active", [(0.0, 1), (0.24, 1), (0.25, 2), (0.5, 3), (1.0, 3)])
def test_the_volume_is_the_sum_of_the_levels_that_have_joined(field, progress, active):
    field.set_progress(progress)
    volume = field.volume()[0]
    n = CONFIG.levels[active - 1]
    assert volume.shape == (4, n, n, n)
    for x, y, z in itertools.product(range(n), repeat=3):
        place = [i / (n - 1) for i in (x, y, z)]
        expected = sum(trilinear(grid[0].detach(), place) for grid in list(field.grids)[:active])
        torch.testing.assert_close(volume[:, x, y, z], expected)


def test_density_and_color_by_hand(field, points):
    """Levels nest (3, 5, 9 share their corners), so a query is the sum of a query of each."""
    field.requires_grad_(False)
    density, color = field(points)
    for i, point in enumerate(points):
        place = ((point / 0.8 + 1) / 2).tolist()
        features = sum(trilinear(grid[0].detach(), place) for grid in field.grids)
        hidden = field.inner.weight @ features + field.inner.bias
        raw = field.outer.weight @ (hidden * torch.sigmoid(hidden)) + field.outer.bias
        blob = CONFIG.blob_scale * (1 - math.sqrt(float(point @ point)) / CONFIG.blob_std)
        expected = 3.0 * math.log1p(math.exp(float(raw[0] + features[0]) + blob))
        assert float(density[i]) == pytest.approx(expected, rel=1e-9)
        torch.testing.assert_close(color[i], torch.sigmoid(raw[1:]))


def test_separate_queries_are_parts_of_the_joint_one(field, points):
    density, color = field(points)
    assert torch.equal(field.density(points), density) and torch.equal(field.color(points), color)


def test_density_is_never_negative_and_color_is_a_color():
    field = Field(replace(CONFIG, blob_scale=100.0), torch.Generator().manual_seed(0))
    for parameter in field.parameters():
        parameter.data.mul_(1000)
    density, color = field((torch.rand(500, 3) * 2 - 1) * 0.8)
    assert (density >= 0).all() and density.isfinite().all() and density.max() > 1
    assert (color >= 0).all() and (color <= 1).all()


def test_a_new_field_is_a_blob_in_the_middle():
    field = Field(GeometryConfig(levels=(8, 16), level_start=(0.0, 0.0)), torch.Generator().manual_seed(0))
    radii = torch.linspace(0.0, 1.0, 6)
    density = field.density(torch.stack([radii, 0 * radii, 0 * radii], dim=1))
    assert (density.diff() < 0).all() and density[0] > 5 and density[-1] < 0.01


def test_seeds(points):
    first, same, other = (Field(CONFIG, torch.Generator().manual_seed(seed)).double() for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(first.color(points), other.color(points))


def test_cached_queries_are_the_same_and_so_are_their_gradients(field, points):
    def gradients(context):
        field.zero_grad()
        with context as inside:
            density, color = inside(points)
            (density.sum() + color.sin().sum() + inside.total_variation()).backward()
        return [p.grad.clone() for p in field.parameters()], density, color

    (plain, *values), (cached, *cached_values) = gradients(contextlib.nullcontext(field)), gradients(field.cached())
    for a, b in zip([*plain, *values], [*cached, *cached_values], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_the_cache_is_no_parameter(field, points, progress):
    """A single active level is itself a Parameter, which a module would take for one more of its own."""
    names = [name for name, _ in field.named_parameters()]
    for share in (0.0, progress):
        field.set_progress(share)
        with field.cached():
            assert [name for name, _ in field.named_parameters()] == names
            field.density(points).sum().backward()
    assert field.grids[0].grad.abs().max() > 0


def test_a_cache_ends_with_its_context(field, points):
    with field.cached():
        before = field.density(points)
        field.grids[0].data.add_(1.0)
        assert torch.equal(field.density(points), before)
    assert not torch.allclose(field.density(points), before)


def test_a_cache_without_gradients_answers_alike_and_can_be_entered_again(field, points):
    expected, summed = field.look(points), field.cached()
    for _ in range(2):
        with torch.no_grad(), summed:
            torch.testing.assert_close(field.look(points), expected.detach(), rtol=1e-12, atol=1e-12)
    assert field.look(points).requires_grad


def test_a_look_is_density_and_colour(field, points):
    density, color = field(points)
    torch.testing.assert_close(field.look(points), torch.column_stack([density, color]), rtol=0, atol=0)


def test_the_resolution_is_that_of_the_finest_active_grid(field):
    for progress, count in ((0.0, 1), (1.0, len(field.config.levels))):
        field.set_progress(progress)
        assert field.resolution == field.config.levels[count - 1] == field.volume().shape[-1]


def test_total_variation_is_the_mean_squared_difference_of_neighbours(field):
    volume = field.volume()[0].detach()
    total = 0.0
    for axis in range(3):
        squares = []
        for cell in itertools.product(range(9), repeat=3):
            if cell[axis] + 1 < 9:
                neighbour = list(cell)
                neighbour[axis] += 1
                squares += (volume[(slice(None), *neighbour)] - volume[(slice(None), *cell)]).square().tolist()
        total += sum(squares) / len(squares)
    assert float(field.total_variation().detach()) == pytest.approx(total, rel=1e-9)


def test_gradients_of_everything_are_right(field, points):
    names, values = zip(*field.named_parameters(), strict=True)

    def value(*parameters):
        density, color = torch.func.functional_call(field, dict(zip(names, parameters, strict=True)), (points[:6],))
        return torch.cat([density, color.flatten()])

    assert torch.autograd.gradcheck(value, values, atol=1e-6, fast_mode=True)
