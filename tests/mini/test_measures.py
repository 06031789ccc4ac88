"""Attributes recovered from pictures, against the truth behind renders and against shapes drawn by hand."""

import numpy as np
import pytest
import torch

from dreamdist3d.lift.cameras import orbit
from dreamdist3d.mini.families import build
from dreamdist3d.mini.measures import (
    color_name,
    color_spread,
    dominant_color,
    foreground,
    pattern_name,
    pattern_signature,
    proportions,
    two_colors,
)
from dreamdist3d.mini.palette import PALETTE
from dreamdist3d.mini.render import composite, render
from dreamdist3d.mini.surface import PATTERNS

CLEAR = ("mug", "teapot", "flowerpot", "lamp", "snowman")  # whose main part fills its band


def seen(spec, background=1.0):
    camera = orbit(*(torch.tensor([value]) for value in (20.0, 10.0, 1.55, 40.0)))
    rgba = torch.from_numpy(render(spec.mesh(), camera, surface=spec.surface()))
    return composite(rgba, torch.full((1, 3), background))[0] / 2 + 0.5, rgba[0, ..., 3]


@pytest.fixture(scope="module")
def world():
    """(truth, picture) of matt and glossy objects over gray, three a family and pattern."""
    made = []
    for number, family in enumerate(CLEAR):
        for index, pattern in enumerate(PATTERNS * 3):
            rng = np.random.default_rng([31, number, index])
            spec = build(family, rng, pattern=pattern, material=("matt", "glossy")[index % 2])
            made.append((spec, seen(spec, 0.5)[0]))
    return made


def test_the_foreground_is_the_object():
    spec = build("teapot", np.random.default_rng(0), "red")
    picture, alpha = seen(spec)
    assert ((alpha == 255) & ~foreground(picture)).float().mean() < 0.01
    assert not foreground(picture)[alpha == 0].any()


def test_main_colors_get_their_names(world):
    plain = [(spec, picture) for spec, picture in world if spec.pattern == "plain"]
    right = [color_name(dominant_color(picture, spec.family)) == spec.main_color for spec, picture in plain]
    assert np.mean(right) > 0.85


@pytest.mark.parametrize("name", PALETTE)
def test_a_color_keeps_its_name_in_any_light(name):
    named = [color_name(torch.tensor(PALETTE[name]) * light) for light in (0.7, 0.85, 1.0)]
    assert named.count(name) >= 2


def test_patterns_are_recovered_better_than_by_chance(world):
    right = {pattern: [] for pattern in PATTERNS}
    for spec, picture in world:
        right[spec.pattern].append(pattern_name(pattern_signature(picture, spec.family)) == spec.pattern)
    assert np.mean([np.mean(hits) for hits in right.values()]) > 0.6  # chance: 0.2
    assert all(np.mean(hits) > 0.3 for hits in right.values()), right


def drawn(paint):
    """A red square 40 x 40 on white, painted blue where `paint(row, column)` says so."""
    picture = torch.ones(3, 64, 64)
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    square = torch.where(paint(rows, columns), torch.tensor([0.1, 0.2, 0.9])[:, None, None], 0.0)
    red = torch.where(paint(rows, columns), 0.0, torch.tensor([0.9, 0.1, 0.1])[:, None, None])
    picture[:, 12:52, 12:52] = square + red
    return picture


def test_signatures_of_drawn_patterns_are_what_can_be_counted():
    """A mug's band is the whole object. Stripes of 5 pixels change at 7 of 39 pairs down a column, at none along."""
    stripes = pattern_signature(drawn(lambda r, c: r // 5 % 2 == 1), "mug")
    torch.testing.assert_close(stripes, torch.tensor([0.5, 0.0, 7 / 39]))
    checks = pattern_signature(drawn(lambda r, c: (r // 5 + c // 5) % 2 == 1), "mug")
    torch.testing.assert_close(checks, torch.tensor([0.5, 7 / 39, 7 / 39]))
    halves = pattern_signature(drawn(lambda r, c: r >= 22), "mug")
    torch.testing.assert_close(halves, torch.tensor([18 / 40, 0.0, 1 / 39]))
    plain = pattern_signature(drawn(lambda r, c: torch.zeros_like(r, dtype=torch.bool)), "mug")
    assert not plain.any()
    names = [pattern_name(signature) for signature in (stripes, checks, halves, plain)]
    assert names == ["striped", "checked", "two-tone", "plain"]


def test_light_is_no_second_color():
    shaded = drawn(lambda r, c: torch.zeros_like(r, dtype=torch.bool))
    shaded[:, 12:52, 12:52] *= torch.linspace(0.6, 1.0, 40)
    assert two_colors(shaded, "mug") is None


def test_proportions_and_spread_by_hand():
    picture = torch.ones(3, 64, 64)
    picture[:, 10:50, 20:40] = 0.2
    assert proportions(picture) == pytest.approx(2.0)
    assert proportions(torch.ones(3, 64, 64)) is None
    red, blue = drawn(lambda r, c: r < 0), drawn(lambda r, c: r >= 0)
    distance = float((torch.tensor([0.9, 0.1, 0.1]) - torch.tensor([0.1, 0.2, 0.9])).norm())
    assert color_spread(torch.stack([red, blue]), "mug") == pytest.approx(distance, abs=1e-5)


def test_proportions_follow_the_mesh():
    for seed in range(4):
        spec = build("tower", np.random.default_rng(seed))
        extents = spec.mesh().extents
        found = proportions(seen(spec)[0])
        assert found == pytest.approx(extents[2] / max(extents[:2]), rel=0.25)
