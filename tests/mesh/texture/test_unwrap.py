import os
import time

import numpy as np
import pytest

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.texture import TextureSettings
from dreamdist3d.mesh.texture.charts import box_unwrap, pack
from dreamdist3d.mesh.texture.raster import covered_texels, overlapping_faces
from dreamdist3d.mesh.texture.unwrap import Unwrapped, chart_labels, untangle, unwrap
from tests.mesh.texture.shapes import SHAPES, ball, plate

SMALL = TextureSettings(size=256)


def by_xatlas(mesh) -> Unwrapped:
    return unwrap(mesh, SMALL)


def by_boxes(mesh) -> Unwrapped:
    return Unwrapped(*box_unwrap(mesh, SMALL.size, SMALL.padding))


def worker(tmp_path, monkeypatch, code: str) -> None:
    script = tmp_path / "worker.py"
    script.write_text(code)
    monkeypatch.setattr("dreamdist3d.mesh.texture.unwrap._WORKER", script)


@pytest.mark.parametrize("method", [by_xatlas, by_boxes])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_texel_belongs_to_two_places(shape, method):
    mesh = SHAPES[shape]()
    flat = method(mesh)
    assert flat.warnings == ()
    assert len(overlapping_faces(flat.uv, flat.faces, SMALL.size)) == 0
    assert flat.uv.min() >= 0 and flat.uv.max() <= 1
    np.testing.assert_array_equal(flat.source[flat.faces], mesh.faces)
    assert len(covered_texels(flat.uv, flat.faces, SMALL.size).index) > 0.15 * SMALL.size**2


@pytest.mark.parametrize("method", [by_xatlas, by_boxes])
def test_charts_keep_their_distance(method):
    flat = method(ball())
    covered = covered_texels(flat.uv, flat.faces, SMALL.size)
    chart = np.full(SMALL.size**2, -1)
    chart[covered.index] = chart_labels(flat.faces)[covered.face]
    chart = chart.reshape(SMALL.size, SMALL.size)
    for step in range(1, SMALL.padding):
        for one, two in ((chart[:, step:], chart[:, :-step]), (chart[step:], chart[:-step])):
            assert ((one == two) | (one < 0) | (two < 0)).all()


def test_texels_are_spread_evenly_over_the_surface():
    mesh = ball()
    flat = by_xatlas(mesh)
    corners = flat.uv[flat.faces]
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    density = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]) / mesh.area_faces
    assert np.quantile(density, 0.95) < 2 * np.quantile(density, 0.05)


def test_box_charts_are_not_mirrored():
    flat = by_boxes(ball())
    corners = flat.uv[flat.faces]
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0] < 0).all()  # v runs down


def test_an_unwrap_that_hangs_is_killed_and_boxes_take_its_place(tmp_path, monkeypatch):
    pid = tmp_path / "pid"
    worker(tmp_path, monkeypatch, f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")
    begin = time.monotonic()
    flat = unwrap(ball(), TextureSettings(size=256, unwrap_seconds=2.0))
    assert time.monotonic() - begin < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert len(flat.warnings) == 1 and "longer than 2 s" in flat.warnings[0] and "box charts" in flat.warnings[0]
    assert len(overlapping_faces(flat.uv, flat.faces, 256)) == 0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no atlas today')", "no atlas today"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "-11"),
        ("pass", "exit status 0"),
    ],
)
def test_an_unwrap_that_fails_says_why(tmp_path, monkeypatch, code, reason):
    worker(tmp_path, monkeypatch, code)
    flat = unwrap(plate(), SMALL)
    assert reason in flat.warnings[0] and "\n" not in flat.warnings[0]


def test_triangles_that_lie_on_others_are_moved_to_free_room():
    triangle = np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]])
    uv = np.concatenate([triangle + 0.05, triangle + 0.1, triangle + [0.5, 0.05], triangle + [0.5, 0.1]])
    source = np.array([5, 6, 7, 5, 6, 7, 0, 1, 2, 0, 1, 2])
    faces = np.arange(12).reshape(-1, 3)
    moved_source, moved_faces, moved_uv = untangle(source, faces, uv, 256, padding=2)
    assert len(overlapping_faces(uv, faces, 256)) == 4
    assert len(overlapping_faces(moved_uv, moved_faces, 256)) == 0
    np.testing.assert_array_equal(moved_source[moved_faces], source[faces])
    kept = (moved_faces == faces).all(axis=1)
    assert kept.sum() == 2  # one of each pair
    corners = moved_uv[moved_faces]
    np.testing.assert_allclose(
        corners - corners[:, :1], np.tile(triangle, (4, 1, 1)), atol=1e-9
    )  # none turned or scaled
    assert moved_uv.min() > 0 and moved_uv.max() < 1


def test_a_heap_of_triangles_is_not_untangled():
    heap = np.tile([[0.1, 0.1], [0.2, 0.1], [0.1, 0.2]], (100, 1))
    assert untangle(np.arange(300), np.arange(300).reshape(-1, 3), heap, 256, padding=2) is None


def test_triangles_without_room_are_not_untangled():
    full = np.tile([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]], (2, 1))
    assert untangle(np.arange(12), np.arange(12).reshape(-1, 3), full, 64, padding=2) is None


def test_packed_boxes_keep_apart_and_inside():
    extents = np.random.default_rng(0).uniform(0.1, 3.0, (60, 2))
    corners, scale = pack(extents, 512, padding=4)
    low, high = corners, corners + extents * scale
    assert low.min() >= 4 and high.max() <= 512 - 4
    for k in range(len(extents)):
        apart = (low - high[k] >= 4 - 1e-9) | (low[k] - high >= 4 - 1e-9)
        assert apart.any(axis=1).sum() == len(extents) - 1
    assert (extents * scale).prod(axis=1).sum() > 0.5 * 512**2


def test_a_texture_too_small_for_its_charts_is_named():
    with pytest.raises(UserError, match="64 x 64 is too small for 5000 charts"):
        pack(np.ones((5000, 2)), 64, padding=4)


@pytest.mark.parametrize(
    ("key", "value"), [("size", 1000), ("size", 32), ("unwrap_seconds", 0.0), ("padding", -1), ("supersample", 0)]
)
def test_settings_name_the_wrong_key(key, value):
    with pytest.raises(UserError, match=key):
        TextureSettings(**{key: value})
