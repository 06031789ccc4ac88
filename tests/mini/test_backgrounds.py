"""What stands behind objects in training: kinds in their shares, colours in range, one seed one picture."""

import pytest
import torch

from dreamdist3d.mini.backgrounds import BACKGROUND_ODDS, random_backgrounds, random_scenes
from dreamdist3d.mini.captions import BACKGROUND_NAMES


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_backgrounds_are_white_gray_and_anything_by_thirds():
    colors = random_backgrounds(3000, seeded())
    assert colors.min() >= 0 and colors.max() <= 1
    white = (colors == 1).all(dim=1)
    gray = (colors == colors[:, :1]).all(dim=1) & ~white
    assert float(white.float().mean()) == pytest.approx(1 / 3, abs=0.04)
    assert float(gray.float().mean()) == pytest.approx(1 / 3, abs=0.04)
    assert torch.equal(random_backgrounds(3000, seeded()), colors)


@pytest.fixture(scope="module")
def scenes():
    return random_scenes(2000, 16, seeded(1))


def test_kinds_come_in_their_shares_and_repeat(scenes):
    pictures, kinds = scenes
    for kind, share in enumerate(BACKGROUND_ODDS):
        assert float((kinds == kind).float().mean()) == pytest.approx(share, abs=0.03)
    again = random_scenes(2000, 16, seeded(1))
    assert torch.equal(again[0], pictures) and torch.equal(again[1], kinds)
    assert pictures.min() >= 0 and pictures.max() <= 1 + 1e-6


def test_nothing_is_copied_from_the_host(monkeypatch):
    """A CUDA graph could not record it (`dreamdist3d.mini.captured`)."""

    def refuse(*given, **named):
        raise AssertionError("a constant tensor in the recorded part of a step")

    for name in ("tensor", "as_tensor", "from_numpy"):
        monkeypatch.setattr(torch, name, refuse)
    random_scenes(4, 16, seeded())


def test_plain_ones_are_plain_and_the_others_are_not(scenes):
    pictures, kinds = scenes
    spread = pictures.flatten(2).std(dim=2).amax(dim=1)
    plain, gradient, textured = (spread[kinds == BACKGROUND_NAMES.index(name)] for name in BACKGROUND_NAMES)
    assert plain.max() < 1e-6
    for other in (gradient, textured):
        assert float((other > 0.02).float().mean()) > 0.95


def test_a_gradient_is_linear_from_corner_to_corner(scenes):
    pictures, kinds = scenes
    for picture in pictures[kinds == BACKGROUND_NAMES.index("gradient")][:20].double():
        second = picture[:, :, 2:] - 2 * picture[:, :, 1:-1] + picture[:, :, :-2]
        assert second.abs().max() < 1e-5
        assert (picture[:, 2:] - 2 * picture[:, 1:-1] + picture[:, :-2]).abs().max() < 1e-5
