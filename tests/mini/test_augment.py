"""What training pictures go through before a judge sees them."""

import pytest
import torch
from torchvision.transforms import v2

from dreamdist3d.mini.augment import augmented, recoloured, worn


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pictures():
    """Smooth ones, so that resampling keeps their values."""
    low = torch.rand(200, 3, 4, 4, generator=seeded(5)) * 2 - 1
    return torch.nn.functional.interpolate(low, (32, 32), mode="bicubic").clamp(-1, 1)


@pytest.mark.parametrize("change", [lambda p, g: augmented(p, g, 0.6), recoloured, worn])
def test_a_seed_is_a_change_and_pictures_stay_pictures(pictures, change):
    first = change(pictures, seeded())
    assert torch.equal(first, change(pictures, seeded())) and not torch.equal(first, change(pictures, seeded(1)))
    assert first.shape == pictures.shape and first.min() >= -1 and first.max() <= 1


def test_crops_are_squares_of_the_picture(pictures):
    """A ramp shows where each crop lies: inside the picture, of at least the smallest side, flipped or not."""
    ramp = torch.linspace(-1, 1, 32).expand(400, 3, 32, 32)
    columns = augmented(ramp * 0.5, seeded(), smallest=0.6)[:, 0, 16]
    steps = (columns[:, 20] - columns[:, 12]) / 8 / (1 / 31)  # source pixels a target pixel, times the gain
    assert 0.4 < float((steps < 0).float().mean()) < 0.6
    assert float(steps.abs().min()) > 0.6 * 0.85 - 0.01 and float(steps.abs().max()) < 1.15 + 0.01
    assert columns.abs().max() <= 0.5 * 1.15 + 0.1 + 1e-4


def test_turns_keep_gray_and_brightness_and_some_pictures_turn_gray(pictures):
    gray = torch.rand(50, 1, 8, 8, generator=seeded(2)).expand(-1, 3, -1, -1)
    torch.testing.assert_close(recoloured(gray, seeded()), gray, atol=1e-5, rtol=0)
    quiet = pictures * 0.4  # far from the clamp
    changed = recoloured(quiet, seeded())
    same = (changed - quiet).abs().flatten(1).amax(dim=1) < 1e-6
    is_gray = (changed - changed.mean(dim=1, keepdim=True)).abs().flatten(1).amax(dim=1) < 1e-5
    turned = ~same & ~is_gray
    shares = [float(kind.float().mean()) for kind in (same, is_gray, turned)]
    assert shares == pytest.approx([0.3, 0.25, 0.45], abs=0.1)
    torch.testing.assert_close(changed[turned].mean(dim=1), quiet[turned].mean(dim=1), atol=1e-5, rtol=0)
    torch.testing.assert_close(changed[turned].norm(dim=1), quiet[turned].norm(dim=1), atol=1e-5, rtol=0)
    expected = v2.functional.rgb_to_grayscale(quiet, num_output_channels=3)
    torch.testing.assert_close(changed[is_gray], expected[is_gray], atol=2e-3, rtol=0)
