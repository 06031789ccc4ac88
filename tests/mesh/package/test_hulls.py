"""Hulls cover the mesh, are convex and few, and never hang."""

import re
import time

import numpy as np
import pytest
import trimesh

from dreamdist3d.mesh.package import hulls
from dreamdist3d.mesh.package.hulls import convex_hulls
from tests.mesh.package.shapes import letter


def farthest_outside(found: hulls.Hulls, points: np.ndarray) -> float:
    """How far the worst of the points lies outside all hulls."""
    depth = []
    for hull in found.meshes:
        offsets = np.einsum("fi,fi->f", hull.face_normals, hull.triangles[:, 0])
        depth.append((points @ hull.face_normals.T - offsets).max(axis=1))
    return float(np.min(depth, axis=0).max())


def assert_fit_for_engines(found: hulls.Hulls, most: int) -> None:
    assert 1 <= len(found.meshes) <= most
    for hull in found.meshes:
        assert hull.is_watertight and hull.is_convex and hull.volume > 0 and len(hull.faces) <= 148


@pytest.mark.parametrize("mesh", [letter(), trimesh.creation.torus(1.0, 0.3, 32, 16)], ids=["letter", "torus"])
def test_hulls_cover_a_hollow_shape_without_filling_its_hollows(mesh: trimesh.Trimesh):
    found = convex_hulls(mesh, 16, 60.0)
    assert not found.warnings and len(found.meshes) >= 3
    assert_fit_for_engines(found, 16)
    assert farthest_outside(found, mesh.vertices) < 1e-6
    volume = sum(hull.volume for hull in found.meshes)
    assert mesh.volume * 0.98 < volume < 1.35 * mesh.volume < 0.9 * mesh.convex_hull.volume


def test_no_more_hulls_than_asked_for():
    assert_fit_for_engines(convex_hulls(letter(), 2, 60.0), 2)


def test_a_round_shape_gets_few_planes_that_stay_close():
    ball = trimesh.creation.icosphere(4)
    found = convex_hulls(ball, 1, 60.0)
    assert_fit_for_engines(found, 1)
    assert farthest_outside(found, ball.vertices) < 1e-9
    assert found.meshes[0].volume < 1.12 * ball.volume


def test_an_open_mesh_gets_several_hulls_that_hug_it():
    """A ball with a large hole, beside it a stalk without ends: what coacd alone works on for minutes."""
    ball, tube = trimesh.creation.icosphere(2), trimesh.creation.cylinder(0.2, 2.0, sections=12)
    ball.update_faces(ball.triangles_center[:, 2] < 0.8)
    tube.update_faces(np.abs(tube.face_normals[:, 2]) < 0.5)
    mesh = trimesh.util.concatenate([ball, tube.apply_translation([2.0, 0.0, 0.0])])
    found = convex_hulls(mesh, 4, 60.0)
    assert not mesh.is_watertight and not found.warnings and len(found.meshes) >= 2
    assert_fit_for_engines(found, 4)
    assert farthest_outside(found, mesh.vertices) < 1e-6
    assert farthest_outside(found, trimesh.sample.sample_surface(mesh, 2000, seed=1)[0]) < 0.02
    assert sum(hull.volume for hull in found.meshes) < 0.8 * mesh.convex_hull.volume


def test_a_sheet_gets_a_thin_hull():
    sheet = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    found = convex_hulls(sheet, 4, 60.0)
    assert_fit_for_engines(found, 4)
    assert farthest_outside(found, sheet.vertices) < 1e-9


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("import time; time.sleep(60)", "longer than 0.5 s; one hull"),
        ("raise RuntimeError('too hard')", r"failed \(RuntimeError: too hard\); one hull"),
        ("pass", "exit status 0"),
    ],
)
def test_a_decomposition_that_hangs_or_dies_leaves_one_hull_and_a_warning(tmp_path, monkeypatch, script, match):
    worker = tmp_path / "worker.py"
    worker.write_text(script)
    monkeypatch.setattr(hulls, "_WORKER", worker)
    begun = time.monotonic()
    found = convex_hulls(letter(), 8, 0.5 if "sleep" in script else 60.0)
    assert time.monotonic() - begun < 30 and len(found.meshes) == 1
    assert_fit_for_engines(found, 1)
    assert farthest_outside(found, letter().vertices) < 1e-9
    (warning,) = found.warnings
    assert re.search(match, warning)


def test_the_worker_imports_nothing_of_this_package():
    text = hulls._WORKER.read_text()
    assert "import coacd" in text and "dreamdist3d" not in text
