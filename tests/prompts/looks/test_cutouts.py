"""Objects off their backgrounds, against the silhouettes that the pictures were painted with."""

import numpy as np
import pytest
from PIL import Image

from dreamdist3d.prompts.looks.cutouts import MARGIN, NotPlain, cut_out

SIZE = 64
Y, X = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5, indexing="ij")


def disc(x, y, radius):
    """Coverage of a disc, antialiased."""
    return (radius - np.hypot(X - x, Y - y) + 0.5).clip(0, 1)


def painted(coverage, color, background):
    """[S, S, 3]; `background` is a colour or a picture."""
    return coverage[..., None] * np.array(color) + (1 - coverage[..., None]) * np.array(background)


def shaded():
    """A background darker towards one corner, as a lamp makes it."""
    light = 0.75 + 0.25 * (1 - (X / SIZE) ** 2 * (Y / SIZE))
    return light[..., None] * np.array([0.6, 0.7, 0.8])


def values(image):
    return np.asarray(image, np.float64) / 255


def bounds(alpha):
    rows, columns = np.flatnonzero((alpha > 0.5).any(1)), np.flatnonzero((alpha > 0.5).any(0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


@pytest.mark.parametrize("background", [(1.0, 1.0, 1.0), (0.1, 0.6, 0.2), shaded()], ids=["white", "green", "shaded"])
def test_the_object_stands_in_the_middle_with_its_margin(background):
    cutout = cut_out(painted(disc(20, 40, 12), (0.8, 0.1, 0.1), background), SIZE)
    assert cutout.image.mode == "RGBA" and cutout.image.size == (SIZE, SIZE) and cutout.is_whole
    alpha = values(cutout.image)[..., 3]
    top, bottom, left, right = bounds(alpha)
    assert abs((top + bottom) - SIZE) <= 2 and abs((left + right) - SIZE) <= 2
    assert abs((bottom - top) - SIZE * (1 - 2 * MARGIN)) <= 6  # two pixels of the picture's own are three here
    shares = [region.mean() for region in (alpha[:4], alpha[-4:], alpha[:, :4], alpha[:, -4:])]
    assert max(shares) == 0 and alpha[SIZE // 2, SIZE // 2] == 1


def test_nothing_of_the_background_is_left_in_the_colours():
    """Red on green: what is mixed at the edge is yellow, and must not be seen, but for the eighth bit."""
    rgba = values(cut_out(painted(disc(32, 32, 14), (0.9, 0.0, 0.0), (0.0, 0.9, 0.0)), SIZE).image)
    seen = rgba[rgba[..., 3] > 0.1]
    assert seen[:, 1].max() < 0.05 and seen[:, 0].min() > 0.85


def test_an_opening_stays_open_and_a_highlight_stays_closed():
    ring = disc(32, 32, 20) - disc(32, 32, 10)
    assert values(cut_out(painted(ring, (0.2, 0.2, 0.7), (1, 1, 1)), SIZE).image)[SIZE // 2, SIZE // 2, 3] == 0
    ball = painted(disc(32, 32, 20), (0.2, 0.2, 0.7), (0.8, 0.8, 0.8))
    glint = painted(disc(32, 32, 3), (0.86, 0.86, 0.86), ball)
    alpha = values(cut_out(glint, SIZE).image)[..., 3]
    assert alpha[SIZE // 2 - 8 : SIZE // 2 + 8, SIZE // 2 - 8 : SIZE // 2 + 8].min() == 1


def test_specks_are_left_out_and_parts_are_kept():
    coverage = disc(20, 32, 10) + disc(44, 32, 6) + disc(58, 6, 1.2)
    alpha = values(cut_out(painted(coverage, (0.7, 0.3, 0.1), (0.9, 0.9, 0.9)), SIZE).image)[..., 3]
    assert len(np.unique(np.flatnonzero(np.diff((alpha[SIZE // 2] > 0.5).astype(int))))) == 4
    assert abs(bounds(alpha)[0] - (SIZE - bounds(alpha)[1])) <= 2  # a speck above would push them down


def test_a_thin_part_keeps_its_own_colour():
    stem = painted(((X > 31) & (X < 33)).astype(float) * (Y > 20) * (Y < 60), (0.1, 0.5, 0.1), (1, 1, 1))
    rgba = values(cut_out(painted(disc(32, 14, 10), (0.9, 0.1, 0.1), stem), SIZE).image)
    row = rgba[int(SIZE * 0.75)]
    center = row[row[:, 3].argmax()]
    assert center[3] > 0.5 and center[1] > center[0] + 0.2


def test_an_object_that_reaches_the_edge_is_cut_out_and_told():
    cutout = cut_out(painted(disc(32, 60, 16), (0.8, 0.1, 0.1), (0.9, 0.9, 0.9)), SIZE)
    assert not cutout.is_whole and 0.1 < values(cutout.image)[..., 3].mean() < 0.7


def test_larger_pictures_and_other_sizes(tmp_path):
    picture = painted(disc(32, 32, 14), (0.8, 0.1, 0.1), (0.9, 0.9, 0.9)).repeat(4, 0).repeat(4, 1)
    image = cut_out(picture, 100).image
    assert image.size == (100, 100)
    image.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "RGBA"


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.random.default_rng(0).random((SIZE, SIZE, 3)), "not plain"),
        (np.where((X // 8 + Y // 8)[..., None] % 2, 0.1, [0.9, 0.8, 0.7]), "not plain"),
        (np.full((SIZE, SIZE, 3), 0.4), "nothing stands out"),
        (shaded(), "nothing stands out"),
    ],
    ids=["noise", "checks", "plain", "shaded"],
)
def test_what_cannot_be_cut_out_says_why(picture, reason):
    with pytest.raises(NotPlain, match=reason):
        cut_out(picture, SIZE)
