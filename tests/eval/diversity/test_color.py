import colorsys
import math

import numpy as np
import pytest
import torch

from dreamdist3d.eval.diversity import hue_divergence, hue_entropy, hue_histograms
from dreamdist3d.eval.diversity.color import BINS, HUES


def painted(*colors: tuple[int, int, int]) -> np.ndarray:
    """An asset a colour, one view of 4 pixels."""
    return np.uint8(colors)[:, None, None, None].repeat(4, axis=3).reshape(len(colors), 1, 2, 2, 3)


def everywhere(views: np.ndarray) -> np.ndarray:
    return np.ones(views.shape[:-1], dtype=bool)


def test_bins_are_the_hues_of_the_standard_library():
    pixels = np.random.default_rng(0).integers(0, 256, (2000, 3), dtype=np.uint8)
    views = pixels[:, None, None, None]
    found = hue_histograms(views, everywhere(views)).argmax(dim=1).tolist()
    for pixel, index in zip(pixels / 255.0, found, strict=True):
        hue = colorsys.rgb_to_hsv(*pixel)[0] * HUES
        expected = HUES if np.ptp(pixel) < 0.15 else round(hue) % HUES
        # A hue between two bins may fall to either.
        assert index == expected or abs(hue % 1 - 0.5) < 1e-9


def test_brightness_of_gray_is_no_colour():
    views = painted((0, 0, 0), (128, 130, 128), (255, 255, 255))
    histograms = hue_histograms(views, everywhere(views))
    assert torch.equal(histograms[:, -1], torch.ones(3, dtype=torch.float64))
    assert hue_entropy(histograms) == 0.0


def test_four_colours_are_two_bits_and_all_of_them_tell_assets_apart():
    views = painted((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
    histograms = hue_histograms(views, everywhere(views))
    assert hue_entropy(histograms) == pytest.approx(2.0)
    assert hue_divergence(histograms) == pytest.approx(2.0)


def test_copies_of_a_motley_asset_are_no_diversity():
    motley = np.concatenate(list(painted((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))), axis=1)[None]
    views = motley.repeat(3, axis=0)
    histograms = hue_histograms(views, everywhere(views))
    assert hue_entropy(histograms) == pytest.approx(2.0)
    assert hue_divergence(histograms) == pytest.approx(0.0, abs=1e-12)


def test_only_what_belongs_to_the_asset_counts_and_every_asset_alike():
    views = painted((255, 0, 0), (0, 0, 255))
    masks = everywhere(views)
    masks[0, 0, 0] = False
    views[0, 0, 0] = (0, 255, 0)
    assert hue_entropy(hue_histograms(views, masks)) == pytest.approx(1.0)


def test_an_asset_without_pixels_says_nothing():
    views = painted((255, 0, 0), (0, 0, 255), (9, 200, 9))
    masks = everywhere(views)
    masks[2] = False
    assert hue_divergence(hue_histograms(views, masks)) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="shows a pixel"):
        hue_entropy(hue_histograms(views, ~everywhere(views)))


def test_the_range_is_the_logarithm_of_the_bins():
    assert hue_entropy(torch.full((2, BINS), 1 / BINS)) == pytest.approx(math.log2(BINS))
