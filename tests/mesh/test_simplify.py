"""Fewer triangles, and still the same thing."""

import numpy as np
import pytest
import trimesh

from dreamdist3d.mesh.simplify import simplify


def test_what_is_within_the_budget_stays_itself():
    ball = trimesh.creation.icosphere(2)
    assert simplify(ball, 320) is ball


@pytest.mark.parametrize("sections", [64, 256])
def test_fine_cylinders_reach_the_budget_too(sections: int):
    """Their ends are slivers, which the quadric library alone leaves as they are from 128 sections on."""
    tube = trimesh.creation.annulus(r_min=0.5, r_max=1.0, height=2.0, sections=sections)
    simple = simplify(tube, len(tube.faces) // 4)
    assert simple.is_watertight and len(simple.faces) <= len(tube.faces) // 4
    assert simple.euler_number == tube.euler_number and simple.volume == pytest.approx(tube.volume, rel=0.1)


def test_a_budget_in_which_parts_would_vanish_is_doubled():
    rings = [trimesh.creation.annulus(0.5, 1.0, 0.1, sections=48).apply_translation([0, 0, 0.3 * k]) for k in range(6)]
    mesh = trimesh.util.concatenate([*rings, trimesh.creation.icosphere(4).apply_translation([4, 0, 0])])
    simple = simplify(mesh, 300)
    assert 300 < len(simple.faces) <= 1200 and simple.is_watertight
    assert simple.volume == pytest.approx(mesh.volume, rel=0.1)
    np.testing.assert_allclose(simple.bounds, mesh.bounds, atol=0.1)
