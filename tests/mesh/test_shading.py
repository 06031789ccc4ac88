"""Hard edges stay hard, smooth ones smooth."""

import numpy as np
import pytest
import trimesh

from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.repair import repair
from dreamdist3d.mesh.shading import by_crease, by_source, carried_over
from dreamdist3d.mesh.simplify import simplify


def corner_errors_deg(mesh: trimesh.Trimesh, expected: np.ndarray) -> np.ndarray:
    """Between the normals at the corners and what they should be, [F, 3, 3]: [F, 3]."""
    cosine = np.einsum("fkj,fkj->fk", mesh.vertex_normals[mesh.faces], expected)
    return np.rad2deg(np.arccos(cosine.clip(-1, 1)))


def flat(mesh: trimesh.Trimesh) -> np.ndarray:
    return np.repeat(mesh.face_normals[:, None], 3, axis=1)


def test_a_cube_has_flat_sides_and_stays_where_it_is():
    box = trimesh.creation.box()
    shaded = by_crease(box, 30.0)
    assert len(shaded.vertices) == 24
    np.testing.assert_allclose(shaded.triangles, box.triangles)
    assert corner_errors_deg(shaded, flat(box)).max() < 1e-5


def test_a_cylinder_is_round_around_and_sharp_at_its_ends():
    cylinder = trimesh.creation.cylinder(radius=1.0, height=2.0, sections=32)
    shaded = by_crease(cylinder, 30.0)
    side = np.abs(cylinder.face_normals[:, 2]) < 0.5
    round_about = shaded.triangles * [1.0, 1.0, 0.0]
    round_about = round_about / np.linalg.norm(round_about, axis=2, keepdims=True).clip(1e-9)
    assert corner_errors_deg(shaded, round_about)[side].max() < 6.0  # half of a side of 32
    assert corner_errors_deg(shaded, flat(cylinder))[~side].max() < 1e-5
    assert len(by_crease(cylinder, 5.0).vertices) > len(shaded.vertices)


def test_the_sources_own_normals_rule_where_it_has_any():
    # Of a ball of 80 triangles whose edges are 20 to 40 degrees: smooth in the source, and wrongly cut by an angle.
    ball = trimesh.creation.icosphere(subdivisions=1)
    order = np.random.default_rng(0).permutation(len(ball.faces))
    part = Painted(ball.vertices, ball.faces[order], np.zeros((42, 3), np.uint8), normals=ball.vertices)
    shaded = by_source(repair(ball), [part], 10.0)
    assert len(shaded.vertices) == 42 and len(by_crease(ball, 10.0).vertices) > 200
    np.testing.assert_allclose(shaded.vertex_normals, shaded.vertices, atol=1e-6)
    # The same ball inside out: repair turns it, and its normals turn with it.
    inside = Painted(ball.vertices, ball.faces[:, ::-1], np.zeros((42, 3), np.uint8), normals=-ball.vertices)
    turned = by_source(repair(trimesh.Trimesh(inside.vertices, inside.faces, process=False)), [inside], 10.0)
    np.testing.assert_allclose(turned.vertex_normals, turned.vertices, atol=1e-6)


def test_a_part_without_normals_is_cut_by_the_angle():
    box = trimesh.creation.box()
    part = Painted(box.vertices, box.faces, np.zeros((8, 3), np.uint8))
    assert len(by_source(box, [part], 30.0).vertices) == 24


@pytest.mark.parametrize("shape", ["cylinder", "ball"])
def test_a_simplified_mesh_is_lit_as_the_dense_one(shape: str):
    if shape == "cylinder":
        dense = trimesh.creation.cylinder(radius=1.0, height=2.0, sections=256)
        dense = dense.subdivide()
    else:
        dense = trimesh.creation.icosphere(subdivisions=5)
    shaded = by_crease(dense, 30.0)
    coarse = simplify(dense, 400)
    assert len(coarse.faces) <= 400
    lit = carried_over(coarse, shaded, 30.0)
    round_about = lit.triangles * ([1.0, 1.0, 0.0] if shape == "cylinder" else 1.0)
    round_about = round_about / np.linalg.norm(round_about, axis=2, keepdims=True).clip(1e-9)
    side = np.abs(coarse.face_normals[:, 2]) < 0.5 if shape == "cylinder" else np.ones(len(coarse.faces), bool)
    assert corner_errors_deg(lit, round_about)[side].max() < 15.0
    assert (~side).any() == (shape == "cylinder")
    assert corner_errors_deg(lit, flat(coarse))[~side].max(initial=0.0) < 1.0
    if shape == "ball":
        assert len(lit.vertices) == len(coarse.vertices)
