"""Stills, the turntable and silhouettes of a field whose looks are known."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from dreamdist3d.lift import outputs, render_silhouettes, save_views
from tests.lift.fakes import TwoFaced, small_config

RADIUS = 0.35


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    for name, value in {"STILL_SIZE": 24, "TURNTABLE_SIZE": 24, "TURNTABLE_FRAMES": 8, "SAMPLES": 24}.items():
        monkeypatch.setattr(outputs, f"_{name}", value)


@pytest.fixture
def config():
    return small_config()


@pytest.fixture
def pictures(tmp_path, config):
    save_views(TwoFaced(), config, tmp_path)
    return tmp_path


def red_share(picture):
    """The share of red among the pixels of the ball; the background is white."""
    pixels = np.asarray(picture.convert("RGB"), dtype=float)
    red = (pixels[..., 0] > 180) & (pixels[..., 2] < 80)
    blue = (pixels[..., 2] > 180) & (pixels[..., 0] < 80)
    assert red.sum() + blue.sum() > 50
    return red.sum() / (red.sum() + blue.sum())


def test_stills_show_the_right_sides(pictures):
    stills = {name: Image.open(pictures / f"{name}.png") for name in ("front", "left", "back", "right")}
    assert {still.size for still in stills.values()} == {(24, 24)}
    assert red_share(stills["front"]) > 0.9 and red_share(stills["back"]) < 0.1
    # From +y ("left", azimuth 90) the front, +x, lies on the picture's left; from -y on its right.
    for name, left_is_red in (("left", True), ("right", False)):
        half = {side: stills[name].crop(box) for side, box in (("l", (0, 0, 12, 24)), ("r", (12, 0, 24, 24)))}
        reds = red_share(half["l"]), red_share(half["r"])
        assert reds[0] > 0.7 > 0.3 > reds[1] if left_is_red else reds[1] > 0.7 > 0.3 > reds[0]
    corner = {still.convert("RGB").getpixel((0, 0)) for still in stills.values()}
    assert corner == {(255, 255, 255)}


def test_the_turntable_goes_once_round(pictures):
    with Image.open(pictures / "turntable.webp") as table:
        assert table.is_animated and table.n_frames == 8 and table.size == (24, 24)
        assert table.info["loop"] == 0
        shares = []
        for frame in range(8):
            table.seek(frame)
            shares.append(red_share(table))
    assert shares[0] > 0.85 and shares[4] < 0.15
    assert all(0.3 < shares[i] < 0.7 for i in (2, 6))
    assert shares[0] > shares[1] > shares[2] > shares[3] > shares[4] < shares[5] < shares[6] < shares[7]


def test_silhouettes_are_opacities_from_their_cameras(config):
    cameras, alpha = render_silhouettes(TwoFaced(), config)
    assert alpha.shape == (16, 64, 64) and cameras.c2w.shape == (16, 4, 4)
    assert len({(float(a), float(e)) for a, e in zip(cameras.azimuth_deg, cameras.elevation_deg, strict=True)}) == 16
    distance = 0.6 / math.tan(math.radians(20.0))
    torch.testing.assert_close(cameras.distance, torch.full((16,), distance))
    half_width = math.tan(math.asin(RADIUS / distance)) / math.tan(math.radians(20.0))
    for silhouette in alpha:
        assert float(silhouette.mean()) == pytest.approx(math.pi * half_width**2 / 4, rel=0.03)
        assert silhouette[32, 32] > 0.999 and silhouette[0, 0] == 0
    assert not alpha.requires_grad
