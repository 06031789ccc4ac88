"""The views that a field is fitted to: rays through their pixels, weights that fade, a place for each."""

import pytest
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.lift.cameras import CameraRanges, rays, sample_cameras
from dreamdist3d.lift.photometric import difference, difference_on_both, facing
from dreamdist3d.lift.pool import Rays, ViewPool
from dreamdist3d.lift.render import RayRendering

SIZE = 6
FRONT = torch.tensor([[1.0, 0.0, 0.0]])


def views(seed: int, count: int = 4):
    """Cameras of random fields of view, and noise for pictures."""
    generator = torch.Generator().manual_seed(seed)
    cameras = sample_cameras(CameraRanges(n_views=count), 1, generator)
    return (
        cameras,
        torch.rand(count, 3, SIZE, SIZE, generator=generator),
        torch.rand(count, SIZE, SIZE, generator=generator),
    )


def test_rays_go_through_the_pixels_whose_colours_they_carry() -> None:
    cameras, rgb, alpha = views(0)
    pool = ViewPool(SIZE, 8, 0.5)
    pool.add(cameras, rgb, alpha)
    drawn = pool.rays(500, torch.Generator().manual_seed(1))
    origins, directions = (x.reshape(-1, 3) for x in rays(cameras, SIZE, SIZE))
    away = (drawn.origins[:, None] - origins[None]).abs().sum(-1) + (
        drawn.directions[:, None] - directions[None]
    ).abs().sum(-1)
    nearest, pixel = away.min(dim=1)
    assert nearest.max() < 1e-5 and len(pixel.unique()) > 0.9 * len(origins)
    torch.testing.assert_close(drawn.rgb, rgb.movedim(1, -1).reshape(-1, 3)[pixel], atol=0.5 / 255 + 1e-6, rtol=0)
    torch.testing.assert_close(drawn.alpha, alpha.reshape(-1)[pixel], atol=0.5 / 255 + 1e-6, rtol=0)


def test_later_views_fade_and_leave_and_the_first_stay() -> None:
    pool = ViewPool(SIZE, 12, 0.5)
    for seed in range(4):
        pool.add(*views(seed))
    assert len(pool) == 12
    state = pool.state_dict()
    assert state["weight"].tolist() == [1.0] * 4 + [0.25] * 4 + [0.5] * 4
    torch.testing.assert_close(state["c2w"][:4], views(0)[0].c2w)
    torch.testing.assert_close(state["c2w"][4:8], views(2)[0].c2w)
    torch.testing.assert_close(pool.first()[0], views(0)[1], atol=0.5 / 255 + 1e-6, rtol=0)


def test_it_comes_back_as_it_was() -> None:
    pool, again = ViewPool(SIZE, 8, 0.5), ViewPool(SIZE, 8, 0.5)
    pool.add(*views(0))
    pool.add(*views(1))
    again.load_state_dict(pool.state_dict())
    one, other = (p.rays(50, torch.Generator().manual_seed(2)) for p in (pool, again))
    assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("origins", "directions", "rgb"))
    with pytest.raises(UserError, match="no views"):
        again.load_state_dict({})


def test_the_difference_is_that_of_pictures_and_of_opacities() -> None:
    """Written out for one ray: smooth L1 that bends at 0.1."""
    drawn = Rays(torch.tensor([[2.0, 0.0, 0.0]]), -FRONT, torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0.5]))
    seen = RayRendering(torch.tensor([[0.5, 0.0, 0.0]]), torch.tensor([0.45]), torch.zeros(0), 1, torch.tensor([1.5]))
    behind = torch.tensor([[0.2, 0.4, 1.0]])
    shown, wanted = [0.5 + 0.55 * 0.2, 0.55 * 0.4, 0.55], [0.5 + 0.5 * 0.2, 0.2, 0.5]
    pictures = sum(0.5 * (a - b) ** 2 / 0.1 for a, b in zip(shown, wanted, strict=True)) / 3
    found = difference(seen, drawn, behind, 1.0)
    torch.testing.assert_close(found, torch.tensor(pictures + 0.5 * 0.05**2 / 0.1))


def test_a_view_counts_by_how_much_it_faces_what_it_sees() -> None:
    """Three cameras look at a point on +x from azimuths 0, 60 and 180, and one at the upright axis."""
    azimuths = torch.deg2rad(torch.tensor([0.0, 60.0, 180.0, 60.0]))
    targets = torch.tensor([[0.5, 0.0, 0.1]] * 3 + [[0.0, 0.0, 0.5]])
    places = 3.0 * torch.stack([azimuths.cos(), azimuths.sin(), torch.zeros(4)], dim=-1)
    # Far cameras, so that all rays of one are parallel: what counts is the angle at the point.
    directions = -places / 3.0
    drawn = Rays(targets - 3.0 * directions, directions, torch.zeros(4, 3), torch.ones(4))
    seen = RayRendering(torch.zeros(4, 3), torch.ones(4), torch.zeros(0), 1, torch.full((4,), 3.0))
    torch.testing.assert_close(facing(seen, drawn, 1.0), torch.tensor([1.0, 0.5**4, 0.05, 1.0]), atol=1e-5, rtol=0)


def test_on_both_colours_count_where_field_and_picture_have_something() -> None:
    """Against loops in float64; what only one of them shows pulls no colour, and the weights get no gradient."""
    generator = torch.Generator().manual_seed(0)
    alpha, opacity = torch.rand(9, generator=generator), torch.rand(9, generator=generator)
    alpha[:3], opacity[2:5] = 0.0, 0.0
    directions = torch.nn.functional.normalize(torch.randn(9, 3, generator=generator), dim=-1)
    drawn = Rays(-3 * directions, directions, torch.rand(9, 3, generator=generator), alpha)
    rgb = (torch.rand(9, 3, generator=generator) * opacity[:, None]).requires_grad_()
    opacity.requires_grad_()
    seen = RayRendering(rgb, opacity, torch.zeros(0), 1, torch.full((9,), 2.0))
    behind = torch.rand(9, 3, generator=generator)

    def smooth(error: float) -> float:
        return 0.5 * error**2 / 0.1 if abs(error) < 0.1 else abs(error) - 0.05

    weights = [float(f * a * o) for f, a, o in zip(facing(seen, drawn, 1.0), alpha, opacity.detach(), strict=True)]
    colors = []
    for i in range(9):
        shown = rgb[i].detach().double() + (1 - opacity[i].detach().double()) * behind[i].double()
        wanted = alpha[i].double() * drawn.rgb[i].double() + (1 - alpha[i].double()) * behind[i].double()
        colors.append(sum(smooth(float(a - b)) for a, b in zip(shown, wanted, strict=True)) / 3)
    outlines = sum(smooth(float(o - a)) for o, a in zip(opacity.detach(), alpha, strict=True)) / 9
    wanted = sum(w * c for w, c in zip(weights, colors, strict=True)) / max(1.0, sum(weights)) + 0.3 * outlines
    found = difference_on_both(seen, drawn, behind, 1.0, 0.3)
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-5)
    (to_colors,) = torch.autograd.grad(found, rgb)
    assert (to_colors[:5] == 0).all() and (to_colors[5:] != 0).any(dim=1).all()
