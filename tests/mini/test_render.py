"""Ray-cast pictures against areas and colours that are known."""

import math

import numpy as np
import pytest
import torch
import trimesh

from dreamdist3d.lift.cameras import orbit, sample_cameras
from dreamdist3d.mini.families import FAMILIES, build
from dreamdist3d.mini.render import MINI_CAMERAS, composite, render


def camera(azimuth=0.0, elevation=0.0, distance=1.55, fov=40.0):
    return orbit(*(torch.tensor([value]) for value in (azimuth, elevation, distance, fov)))


def painted(mesh, color=(200, 80, 40)):
    mesh.visual.face_colors = np.array([*color, 255], dtype=np.uint8)
    return mesh


@pytest.mark.parametrize("azimuth,elevation", [(0.0, 0.0), (77.0, 30.0)])
def test_the_silhouette_of_a_ball_has_the_area_of_its_projection(azimuth, elevation):
    pictures = render(painted(trimesh.creation.icosphere(subdivisions=5, radius=0.4)), camera(azimuth, elevation))
    half_width = math.tan(math.asin(0.4 / 1.55)) / math.tan(math.radians(20.0))
    assert float(pictures[0, ..., 3].mean() / 255) == pytest.approx(math.pi * half_width**2 / 4, rel=0.01)


def test_the_colors_of_a_half_covered_pixel_are_not_mixed_with_what_is_behind():
    """A plate seen head-on has one colour, at its anti-aliased rim too; elsewhere there is none."""
    plate = painted(trimesh.creation.box((0.02, 0.51, 0.37)))
    picture = render(plate, camera(), 64)[0]
    alpha = picture[..., 3]
    assert {0, 255} < set(np.unique(alpha).tolist())
    seen = np.unique(picture[alpha > 0][:, :3], axis=0)
    assert len(seen) == 1 and not picture[alpha == 0].any()
    # The front of the plate stands 0.01 nearer than its middle.
    scale = 1 / (2 * (1.55 - 0.01) * math.tan(math.radians(20.0)))
    assert float(alpha.mean() / 255) == pytest.approx(0.51 * scale * 0.37 * scale, rel=0.05)


def test_light_comes_from_the_world_not_from_the_camera():
    """A face keeps its shade whoever looks at it; differently turned faces differ; hue stays."""
    box = painted(trimesh.creation.box((0.5, 0.5, 0.5)))

    def middle(azimuth, elevation):
        return render(box, camera(azimuth, elevation))[0, 32, 32].tolist()

    top = middle(0.0, 90.0)
    assert top == middle(200.0, 80.0) == middle(100.0, 75.0)
    faces = [middle(azimuth, 0.0) for azimuth in (0.0, 90.0, 180.0, 270.0)] + [top]
    assert len({tuple(face) for face in faces}) >= 4
    for r, g, b, alpha in faces:
        assert alpha == 255 and 0.5 < r / 200 < 1.1
        assert (g / 80, b / 40) == pytest.approx((r / 200, r / 200), abs=0.02)


def test_near_faces_hide_far_ones():
    """A red box before a blue one, seen from both sides."""
    red, blue = (painted(trimesh.creation.box((0.1, 0.4, 0.4)), c) for c in ((200, 0, 0), (0, 0, 200)))
    red.apply_translation([0.2, 0, 0])
    blue.apply_translation([-0.2, 0, 0])
    pictures = render(trimesh.util.concatenate([red, blue]), orbit(
        torch.tensor([0.0, 180.0]), torch.zeros(2), torch.full((2,), 1.55), torch.full((2,), 40.0)
    ))  # fmt: skip
    assert pictures[0, 32, 32, 0] > 100 and pictures[0, 32, 32, 2] == 0
    assert pictures[1, 32, 32, 2] > 100 and pictures[1, 32, 32, 0] == 0


def test_pictures_are_upright_and_not_mirrored():
    ball = painted(trimesh.creation.icosphere(subdivisions=2, radius=0.1))
    ball.apply_translation([0, 0.25, 0.25])
    alpha = render(ball, camera())[0, ..., 3]
    assert alpha[:32, 32:].any() and not alpha[32:].any() and not alpha[:, :32].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_no_object_is_cut_off_and_each_is_seen(family):
    generator = torch.Generator().manual_seed(0)
    pictures = render(build(family, np.random.default_rng(2)).mesh(), sample_cameras(MINI_CAMERAS, 1, generator))
    alpha = pictures[..., 3]
    assert not alpha[:, [0, -1]].any() and not alpha[:, :, [0, -1]].any()
    thin = family in ("sword", "boat", "fish")  # from the front or the side
    assert (alpha.mean(axis=(1, 2)) / 255 > (0.02 if thin else 0.08)).all()


def test_composite_is_the_over_operator():
    generator = torch.Generator().manual_seed(0)
    rgba = torch.randint(0, 256, (2, 3, 4, 5, 4), generator=generator, dtype=torch.uint8)
    background = torch.rand(2, 3, 3, generator=generator)
    result = composite(rgba, background)
    assert result.shape == (2, 3, 3, 4, 5)
    for index in np.ndindex(2, 3, 4, 5):
        r, g, b, a = (int(v) / 255 for v in rgba[index])
        behind = background[index[:2]].tolist()
        expected = [2 * (c * a + d * (1 - a)) - 1 for c, d in zip((r, g, b), behind, strict=True)]
        np.testing.assert_allclose(result[index[:2]][:, index[2], index[3]], expected, atol=1e-6)


def test_clear_pixels_are_exactly_the_background_and_opaque_ones_exactly_the_object():
    rgba = torch.tensor([[[17, 99, 250, 0], [17, 99, 250, 255]]], dtype=torch.uint8)
    result = composite(rgba, torch.tensor([0.2, 0.4, 0.6]))
    torch.testing.assert_close(result[:, 0, 0], torch.tensor([0.2, 0.4, 0.6]) * 2 - 1)
    assert torch.equal(result[:, 0, 1], torch.tensor([17, 99, 250]) / 255 * 2 - 1)


def test_composite_takes_pictures_as_backgrounds():
    generator = torch.Generator().manual_seed(0)
    rgba = torch.randint(0, 256, (2, 4, 5, 4), generator=generator, dtype=torch.uint8)
    color = torch.rand(2, 3, generator=generator)
    picture = color[..., None, None].expand(-1, -1, 4, 5)
    assert torch.equal(composite(rgba, picture), composite(rgba, color))
