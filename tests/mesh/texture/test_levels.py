import numpy as np
import pytest
import trimesh

from dreamdist3d.mesh.quality import measure_quality
from dreamdist3d.mesh.simplify import simplify
from dreamdist3d.mesh.texture import TexturedMesh, TextureMaps, TextureSettings, simplified_levels, texture_mesh
from dreamdist3d.mesh.texture.charts import box_unwrap
from dreamdist3d.mesh.texture.raster import covered_texels, with_rim
from dreamdist3d.mesh.texture.unwrap import chart_labels
from tests.mesh.texture.shapes import ball, blobs, gradient, read_albedo, ring, surface_points

SIZE = 512
RATIOS = (0.5, 0.25, 0.1)


@pytest.fixture(scope="module", params=[ring, lambda: ball(4), blobs], ids=["ring", "ball", "blobs"])
def textured(request) -> TexturedMesh:
    return texture_mesh(request.param(), gradient, TextureSettings(size=SIZE, normal_map=False, occlusion=False))


def welded(mesh: TexturedMesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces)


def test_levels_have_the_triangles_asked_for_and_stay_closed(textured):
    before = measure_quality(welded(textured))
    levels = simplified_levels(textured, RATIOS)
    for level, ratio in zip(levels, RATIOS, strict=True):
        assert level.warnings == ()
        assert 0.9 * ratio < len(level.faces) / len(textured.faces) <= ratio
        after = measure_quality(welded(level), welded(textured))
        assert after.watertight
        assert (after.components, after.euler_number) == (before.components, before.euler_number)
        assert after.volume == pytest.approx(before.volume, rel=0.2 * (1 - ratio))


def test_levels_stray_little_more_than_with_freely_placed_vertices(textured):
    whole = welded(textured)
    for level in simplified_levels(textured, RATIOS):
        free = measure_quality(simplify(whole, max(len(level.faces), 100)), whole)
        assert measure_quality(welded(level), whole).deviation_mean < 4 * free.deviation_mean


def test_levels_share_the_maps_and_take_their_vertices_from_the_first(textured):
    rows = np.concatenate([textured.vertices, textured.uv, textured.normals], axis=1)
    known = {row.tobytes() for row in rows}
    for level in simplified_levels(textured, (0.5, 0.2)):
        assert level.maps is textured.maps
        assert {row.tobytes() for row in np.concatenate([level.vertices, level.uv, level.normals], axis=1)} <= known


def test_no_triangle_leaves_its_chart(textured):
    charts = {tuple(uv): chart for chart, uv in zip(_vertex_charts(textured), textured.uv, strict=True)}
    for level in simplified_levels(textured, RATIOS):
        of_corner = np.array([charts[tuple(uv)] for uv in level.uv])[level.faces]
        assert (of_corner == of_corner[:, :1]).all()


def _vertex_charts(mesh: TexturedMesh) -> np.ndarray:
    charts = np.empty(len(mesh.vertices), dtype=np.int64)
    charts[mesh.faces] = chart_labels(mesh.faces)[:, None]
    return charts


def test_the_texture_does_not_slide(textured):
    """What lies under a texel of a level is near to what lay under it before; and hardly any texel is a foreign one."""
    before = covered_texels(textured.uv, textured.faces, SIZE)
    before = with_rim(before, textured.uv, textured.faces, SIZE, 1.5)
    places = np.full((SIZE * SIZE, 3), np.nan)
    places[before.index] = before.interpolate(textured.vertices, textured.faces)
    for level, most in zip(simplified_levels(textured, (0.5, 0.25)), (0.012, 0.025), strict=True):
        now = covered_texels(level.uv, level.faces, SIZE)
        moved = np.linalg.norm(now.interpolate(level.vertices, level.faces) - places[now.index], axis=1)
        assert np.isnan(moved).mean() < 0.003
        assert np.nanquantile(moved, 0.99) < most


def test_levels_show_the_colours_of_the_surface(textured):
    for level, most in zip(simplified_levels(textured, (0.5, 0.25)), (0.005, 0.015), strict=True):
        points, uv = surface_points(level)
        assert np.quantile(np.abs(read_albedo(level, uv) - gradient(points, points)), 0.99) < most


def test_flat_sides_lose_their_triangles_and_nothing_else():
    box = trimesh.creation.box()
    for _ in range(4):
        box = box.subdivide()
    source, faces, uv = box_unwrap(box, 256, padding=4)
    empty = np.zeros((256, 256, 3), np.uint8)
    maps = TextureMaps(empty, None, None, empty[..., 0] > 0)
    mesh = TexturedMesh(box.vertices[source], faces, box.vertex_normals[source], uv, maps, ())
    (level,) = simplified_levels(mesh, (0.02,))
    assert len(level.faces) <= 0.02 * len(faces)
    assert welded(level).volume == pytest.approx(1.0) and welded(level).is_watertight
    assert measure_quality(welded(level), box).deviation_max < 1e-6


def test_a_level_that_cannot_go_as_low_says_so():
    mesh = texture_mesh(ball(1), gradient, TextureSettings(size=64, normal_map=False, occlusion=False))
    (level,) = simplified_levels(mesh, (0.02,))
    assert len(level.faces) >= 4 and welded(level).is_watertight
    assert len(level.warnings) == 1 and "instead of 1" in level.warnings[0]


@pytest.mark.parametrize("ratios", [(1.0,), (0.5, 0.0), (0.2, 0.5), (0.5, 0.5)])
def test_ratios_out_of_order_are_refused(textured, ratios):
    with pytest.raises(ValueError, match="ratios must fall"):
        simplified_levels(textured, ratios)


def test_no_levels_are_no_work(textured):
    assert simplified_levels(textured, ()) == ()
