"""Patterns and light in the object's own coordinates, against geometry done by hand."""

import numpy as np
import pytest

from dreamdist3d.mini.surface import Paint, Surface

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
UP = np.array([[0.0, 0.0, 1.0]])


def second(points, pattern, normals=UP, **named):
    points = np.atleast_2d(np.asarray(points, dtype=float))
    return Paint(RED, BLUE, pattern, **named).second(points, np.broadcast_to(normals, points.shape)).tolist()


def test_stripes_alternate_along_their_axis_alone():
    heights = np.array([0.05, 0.15, 0.25, 0.35])
    along = np.stack([heights * 3, -heights, heights], axis=1)
    assert second(along, "striped", period=0.2) == [False, True, False, True]
    assert second(along[:, [2, 1, 0]], "striped", period=0.2, axis=0) == [False, True, False, True]


def test_checks_change_at_every_cell_in_every_direction():
    for step in np.eye(3) * 0.1:
        here, there = second([[0.05] * 3, step + 0.05], "checked", period=0.2)
        assert here != there


def test_two_tones_part_at_the_middle():
    assert second([[0, 0, 0.01], [0, 0, -0.01]], "two-tone") == [False, True]
    assert second([[0.01, 0, -1], [-0.01, 0, 1]], "two-tone", axis=0) == [False, True]


@pytest.mark.parametrize("normal,plane", [((0, 0, 1), (0, 1)), ((0, -1, 0), (0, 2)), ((1, 0, 0), (1, 2))])
def test_dots_are_round_on_the_plane_that_faces_out(normal, plane):
    """Their share of a plane is that of discs in unit cells, and depth does not matter."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 2, (40_000, 3))
    dotted = np.array(second(points, "dotted", np.array([normal]), period=0.5))
    assert dotted.mean() == pytest.approx(np.pi * 0.31**2, abs=0.01)
    moved = points.copy()
    moved[:, ({0, 1, 2} - set(plane)).pop()] += 0.37
    assert second(moved, "dotted", np.array([normal]), period=0.5) == dotted.tolist()


def shaded(material, normals, points=None, rgb=(0.5, 0.4, 0.3)):
    normals = np.asarray(normals, dtype=float)
    points = np.zeros_like(normals) if points is None else points
    surface = Surface([Paint(rgb, material=material)], np.zeros(1, dtype=int), np.zeros(3))
    return surface.shade(points, normals, np.zeros(len(normals), dtype=int))


def ball(count=3000):
    normals = np.random.default_rng(0).normal(size=(count, 3))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_matt_is_lamberts_law_and_keeps_the_hue():
    normals = ball()
    lit = shaded("matt", normals)
    light = np.full(len(normals), 0.62)
    for direction, strength in (((0.5, -0.6, 0.8), 0.34), ((0.6, 0.7, 0.1), 0.10)):
        light += strength * np.clip(normals @ (np.array(direction) / np.linalg.norm(direction)), 0, None)
    np.testing.assert_allclose(lit, np.clip(light[:, None] * [0.5, 0.4, 0.3], 0, 1), atol=1e-6)


def test_gloss_adds_white_in_few_places_and_metal_varies_everywhere():
    normals = ball()
    matt, glossy, metal = (shaded(material, normals, 0.5 * normals) for material in ("matt", "glossy", "metallic"))
    added = glossy - matt
    assert (added >= -1e-6).all() and 0.02 < (added.max(axis=1) > 0.1).mean() < 0.35
    unclipped = glossy.max(axis=1) < 1
    np.testing.assert_allclose(added[unclipped], added[unclipped, :1].repeat(3, axis=1), atol=1e-6)
    assert np.log(metal.mean(axis=1) / matt.mean(axis=1)).std() > 0.25
