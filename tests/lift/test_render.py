"""Volume rendering against integrals known in closed form."""

import math
from dataclasses import replace

import pytest
import torch

from dreamdist3d.lift.cameras import orbit, rays
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.occupancy import occupancy_of
from dreamdist3d.lift.render import _cube_interval, _edges, render, render_opacity
from tests.lift.fakes import SMALL, AnalyticField, TwoFaced, ball, small_config

GREEN = torch.tensor([0.2, 0.7, 0.1])
BLACK = torch.zeros(3)


def camera(azimuth=0.0, elevation=0.0, distance=4.0, fov=40.0):
    return orbit(*(torch.tensor([value]) for value in (azimuth, elevation, distance, fov)))


def chord(cameras, size, radius):
    """Length of every pixel's ray inside a ball around the origin, [size, size]."""
    origins, directions = (x[0].double() for x in rays(cameras, size, size))
    along = (origins * directions).sum(dim=-1)
    closest = origins.square().sum(dim=-1) - along.square()
    return 2 * (radius**2 - closest).clamp(min=0).sqrt()


def box_length(cameras, size, radius):
    """Length of every pixel's ray inside the cube, by Cyrus and Beck's clipping, one ray at a time."""
    origins, directions = (x[0].double().view(-1, 3).tolist() for x in rays(cameras, size, size))
    lengths = []
    for origin, direction in zip(origins, directions, strict=True):
        enter, leave = 0.0, math.inf
        for o, d in zip(origin, direction, strict=True):
            if abs(d) < 1e-12:
                enter, leave = (enter, leave) if abs(o) <= radius else (math.inf, -math.inf)
                continue
            first, second = sorted(((-radius - o) / d, (radius - o) / d))
            enter, leave = max(enter, first), min(leave, second)
        lengths.append(max(0.0, leave - enter))
    return torch.tensor(lengths).view(size, size)


@pytest.mark.parametrize("azimuth,elevation,distance", [(0, 0, 4.0), (33, 21, 4.0), (200, 90, 3.0), (45, 10, 0.5)])
def test_a_filled_cube_is_exact_whatever_the_samples(azimuth, elevation, distance):
    """Constant density: opacity = 1 - exp(-density * length), also from inside the cube."""
    cameras = camera(float(azimuth), float(elevation), distance, fov=60.0)
    field = AnalyticField(lambda p: (torch.full((len(p),), 0.7), GREEN.expand(len(p), 3)))
    expected = 1 - torch.exp(-0.7 * box_length(cameras, 9, 1.0))
    assert expected.min() < 0.1 or distance < 1  # some rays miss, unless the camera is inside
    for samples in (1, 7, 32):
        result = render(field, cameras, 9, samples, BLACK)
        torch.testing.assert_close(result.opacity[0].double(), expected.double(), atol=2e-5, rtol=0)
        torch.testing.assert_close(result.rgb[0], GREEN[:, None, None] * result.opacity, atol=1e-5, rtol=0)


@pytest.mark.parametrize("density", [0.5, 4.0])
def test_a_ball(density):
    cameras = camera(60.0, 25.0)
    expected = 1 - torch.exp(-density * chord(cameras, 12, 0.8))
    result = render(ball(0.8, density, GREEN), cameras, 12, 512, BLACK)
    # Half a sample's length may be wrong at each end of a chord.
    torch.testing.assert_close(result.opacity[0].double(), expected, atol=density * 3.5 / 512, rtol=0)


def test_a_linear_density_is_integrated_by_the_midpoint_rule_exactly():
    field = AnalyticField(lambda p: (0.5 * (p[:, 2] + 1), GREEN.expand(len(p), 3)))
    result = render(field, camera(elevation=90.0, distance=50.0, fov=1.0), 1, 5, BLACK)
    assert float(result.opacity) == pytest.approx(1 - math.exp(-1.0), abs=1e-4)


def test_near_things_hide_far_ones():
    """A slab of density s before x = 0 lets exp(-s) of the slab behind through."""

    def halves(p):
        color = torch.where(p[:, :1] > 0, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
        return torch.full((len(p),), 2.0), color

    front, back = (
        render(AnalyticField(halves), camera(azimuth, distance=50.0, fov=0.5), 1, 64, BLACK).rgb.flatten()
        for azimuth in (0.0, 180.0)
    )
    near, far = 1 - math.exp(-2.0), math.exp(-2.0) * (1 - math.exp(-2.0))
    torch.testing.assert_close(front, torch.tensor([near, 0.0, far]), atol=1e-3, rtol=0)
    torch.testing.assert_close(back, torch.tensor([far, 0.0, near]), atol=1e-3, rtol=0)


def test_the_background_shows_through():
    cameras = camera().at([0, 0])
    field = ball(0.8, 1.0, GREEN)
    clear = render(field, cameras, 10, 32, BLACK)
    colors = torch.tensor([[0.3, 0.5, 0.9], [1.0, 0.0, 0.2]])
    for background in (colors, colors[0]):
        seen = render(field, cameras, 10, 32, background).rgb
        behind = background.expand(2, 3)[:, :, None, None] * (1 - clear.opacity[:, None])
        torch.testing.assert_close(seen, clear.rgb + behind)
    corner = render(field, cameras, 10, 32, colors).rgb[:, :, 0, 0]
    assert torch.equal(corner, colors)  # a ray past the ball


def test_pictures_are_upright_and_not_mirrored():
    """A ball up (+z) and to the right of the front camera (+y) is in the upper right of the picture."""
    place = torch.tensor([0.0, 0.5, 0.5])
    field = AnalyticField(lambda p: (30.0 * ((p - place).norm(dim=1) < 0.2).float(), GREEN.expand(len(p), 3)))
    opacity = render(field, camera(), 16, 128, BLACK).opacity[0]
    assert opacity[:8, 8:].sum() > 3 and opacity[8:].sum() == 0 and opacity[:, :8].sum() == 0


def test_jitter_keeps_the_expectation_and_takes_away_the_bias():
    cameras, field = camera(20.0, 10.0), ball(0.8, 1.0, GREEN)
    truth = 1 - torch.exp(-chord(cameras, 8, 0.8))
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([render(field, cameras, 8, 8, BLACK, generator=generator).opacity[0] for _ in range(400)])
    assert drawn.std(dim=0).max() > 0.01
    spread = drawn.std(dim=0) / 400**0.5
    torch.testing.assert_close(drawn.mean(dim=0).double(), truth, atol=float(5 * spread.max()) + 0.01, rtol=0)
    middle = (render(field, cameras, 8, 8, BLACK).opacity[0] - truth).abs().max()
    assert (drawn.mean(dim=0) - truth).abs().max() < 0.5 * middle


def test_jitter_is_the_generators():
    field = ball(0.8, 1.0, GREEN)
    first, same, other = (
        render(field, camera(), 6, 6, BLACK, generator=torch.Generator().manual_seed(seed)).opacity
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_no_point_outside_the_cube_is_asked_for():
    asked = []

    def remember(points):
        asked.append(points)
        return torch.ones(len(points)), GREEN.expand(len(points), 3)

    for seed in range(3):
        before, generator = sum(map(len, asked)), torch.Generator().manual_seed(seed)
        result = render(AnalyticField(remember), camera(40.0, 30.0, fov=60.0), 8, 16, BLACK, generator=generator)
        assert len(result.density) == sum(map(len, asked)) - before and result.n_samples == 8 * 8 * 16
    assert torch.cat(asked).abs().max() <= 1.0


def test_gradients_reach_density_and_color():
    """d opacity / d density = length * exp(-density * length) in a filled cube."""
    density, color = torch.tensor(0.7, requires_grad=True), GREEN.clone().requires_grad_()
    field = AnalyticField(lambda p: (density.expand(len(p)), color.expand(len(p), 3)))
    cameras = camera(33.0, 21.0)
    length = box_length(cameras, 6, 1.0).float()
    result = render(field, cameras, 6, 16, BLACK)
    result.opacity.sum().backward(retain_graph=True)
    assert float(density.grad) == pytest.approx(float((length * torch.exp(-0.7 * length)).sum()), rel=1e-4)
    result.rgb.sum().backward()
    expected = float((1 - torch.exp(-0.7 * length)).sum())
    torch.testing.assert_close(color.grad, torch.full((3,), expected), rtol=1e-4, atol=0)


def plainly(field, cameras, size: int, samples: int, background):
    """Every sample of every ray, in float64 sums: rgb [B, 3, H, W], opacity [B, H, W], and how many there were."""
    origins, directions = (x.reshape(-1, 3) for x in rays(cameras, size, size))
    near, far = _cube_interval(origins, directions, field.radius)
    edges = _edges(near, far, samples, None)
    middles = (edges[:, 1:] + edges[:, :-1]) / 2
    points = origins[:, None] + directions[:, None] * middles[..., None]
    inside = (points.abs() <= field.radius).all(dim=-1) & (far > near)[:, None]
    density, color = (x.view(*inside.shape, *x.shape[1:]).double() for x in field(points.view(-1, 3)))
    alpha = 1 - torch.exp(-torch.where(inside, density, 0.0) * edges.diff(dim=1))
    through = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha], dim=1), dim=1)
    weights = through[:, :-1] * alpha
    rgb = (weights[..., None] * color).sum(dim=1) + through[:, -1:] * background
    shape = (len(cameras.c2w), size, size)
    return rgb.view(*shape, 3).movedim(-1, 1).float(), weights.sum(dim=1).view(shape).float(), int(inside.sum())


@pytest.mark.parametrize("density", [0.5, 20.0])
def test_pictures_are_those_of_all_samples_for_fewer_queries(density):
    cameras = orbit(*torch.tensor([[0.0, 40.0], [15.0, 60.0], [2.5, 2.5], [50.0, 50.0]]))
    field = ball(0.6, density, torch.tensor([0.9, 0.5, 0.1]))
    rgb, opacity, whole = plainly(field, cameras, 16, 100, GREEN)
    field.queried = 0
    found = render(field, cameras, 16, 100, GREEN)
    assert field.queried == len(found.density) and (field.queried < 0.9 * whole) == (density > 1)
    torch.testing.assert_close(found.rgb, rgb, atol=1 / 512, rtol=0)
    torch.testing.assert_close(found.opacity, opacity, atol=1 / 512, rtol=0)
    torch.testing.assert_close(render_opacity(field, cameras, 16, 100), opacity, atol=1 / 512, rtol=0)
    assert opacity.max() > (0.98 if density > 1 else 0.3) and (found.opacity == 0).any()


def test_gradients_are_those_of_all_samples():
    """Of a real field, thin and thick, on its grids; what nobody sees gets none from either."""
    cameras = orbit(*torch.tensor([[10.0, 100.0], [15.0, 40.0], [1.5, 1.5], [40.0, 40.0]]))
    gradients = []
    for seen in (lambda f: render(f, cameras, 8, 40, BLACK).rgb, lambda f: plainly(f, cameras, 8, 40, BLACK)[0]):
        field = Field(replace(SMALL, density_gain=30.0), torch.Generator().manual_seed(1))
        (seen(field) * torch.linspace(0.5, 1.5, 8)).sum().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in field.parameters()]))
    torch.testing.assert_close(*gradients, atol=0.02 * float(gradients[1].abs().max()), rtol=0)
    assert gradients[1].abs().max() > 0.1


def test_opacities_alone_skip_empty_cells_as_the_picture_does():
    cameras = orbit(*torch.tensor([[10.0], [15.0], [1.5], [50.0]]))
    field, settings = TwoFaced(), small_config().renderer
    occupancy = occupancy_of(field, settings)
    expected = render(field, cameras, 12, 50, torch.zeros(3), occupancy).opacity.detach()
    torch.testing.assert_close(render_opacity(field, cameras, 12, 50, occupancy), expected, atol=1 / 512, rtol=0)
