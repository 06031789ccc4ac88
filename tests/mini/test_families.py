"""The procedural objects: sound geometry, true attributes, colours from the palette."""

import numpy as np
import pytest
import trimesh

from dreamdist3d.mini.families import FAMILIES, OBJECT_RADIUS, build
from dreamdist3d.mini.palette import COLOR_NAMES, JITTER, PALETTE, other_than, shade_of
from dreamdist3d.mini.surface import MATERIALS, PATTERNS

SEEDS = range(6)


def drawn(family, seed=0, **named):
    return build(family, np.random.default_rng(seed), **named)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_solid_is_closed_and_turned_outwards(family):
    for seed in SEEDS:
        for solid, _ in drawn(family, seed).solids:
            assert solid.is_watertight and solid.is_winding_consistent and solid.volume > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_objects_fill_their_sphere_around_the_origin(family):
    for seed in SEEDS:
        mesh = drawn(family, seed).mesh()
        assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(OBJECT_RADIUS)
        np.testing.assert_allclose(mesh.bounds.mean(axis=0), 0, atol=1e-9)
        assert mesh.extents.min() > (0.1 if family == "sword" else 0.2)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_is_an_object(family):
    first, same, other = (drawn(family, seed).mesh() for seed in (0, 0, 1))
    assert np.array_equal(first.vertices, same.vertices)
    assert np.array_equal(first.visual.face_colors, same.visual.face_colors)
    assert not np.array_equal(first.bounds, other.bounds)
    assert not np.array_equal(first.visual.face_colors[:1], other.visual.face_colors[:1])


@pytest.mark.parametrize("family", FAMILIES)
def test_colors_are_what_the_spec_says(family):
    for seed in SEEDS:
        spec = drawn(family, seed)
        assert spec.family == family and spec.part == FAMILIES[family].part
        assert spec.main_color != spec.part_color
        faces = spec.mesh().visual.face_colors
        for name, rgb in ((spec.main_color, spec.main_rgb), (spec.part_color, spec.part_rgb)):
            assert np.abs(np.subtract(rgb, PALETTE[name])).max() <= JITTER + 1e-9
            assert (np.abs(faces[:, :3] - 255 * np.array(rgb)) <= 0.5).all(axis=1).any()
        start = 0
        for solid, paint in spec.solids:  # every face has its own solid's colour
            block = faces[start : start + len(solid.faces), :3]
            assert np.abs(block - 255 * np.array(paint.rgb)).max() <= 0.5
            start += len(solid.faces)
        assert start == len(faces) == len(spec.surface().paint_of_face)


@pytest.mark.parametrize("family", FAMILIES)
def test_patterns_and_materials_are_drawn_or_asked_for(family):
    specs = [drawn(family, seed) for seed in range(60)]
    assert {spec.pattern for spec in specs} == set(PATTERNS) and {spec.material for spec in specs} == set(MATERIALS)
    for spec in specs:
        assert bool(spec.second_color) == (spec.pattern != "plain") and spec.second_color != spec.main_color
        assert "xyz"[spec.main_paint.axis] in FAMILIES[family].axes
    asked = drawn(family, 3, pattern="checked", material="metallic")
    assert (asked.main_paint.pattern, asked.main_paint.material) == ("checked", "metallic")
    plain = drawn(family, 3, pattern="plain")
    assert np.array_equal(asked.mesh().vertices, plain.mesh().vertices)  # the shape is the seed's


@pytest.mark.parametrize("family", FAMILIES)
def test_every_pattern_shows_both_of_its_colors(family):
    """Over the surface of the main part, each of the two colours has its share, whatever the shape."""
    for pattern in PATTERNS[1:]:
        spec = drawn(family, 1, pattern=pattern, material="matt")
        mesh, surface = spec.mesh(), spec.surface()
        points, faces = trimesh.sample.sample_surface(mesh, 4000, seed=0)
        is_main = np.array([paint is spec.main_paint for _, paint in spec.solids])[surface.paint_of_face[faces]]
        seen = surface.albedo(points[is_main], mesh.face_normals[faces[is_main]], faces[is_main])
        second = np.abs(seen - spec.second_rgb).max(axis=1) < 1e-9
        assert np.abs(seen[~second] - spec.main_rgb).max() < 1e-9
        assert 0.1 < second.mean() < 0.9, pattern


@pytest.mark.parametrize("family", FAMILIES)
def test_attributes_vary_and_the_main_color_can_be_asked_for(family):
    specs = [drawn(family, seed, main_color="teal") for seed in range(12)]
    assert {spec.main_color for spec in specs} == {"teal"} and len({spec.part_color for spec in specs}) > 3
    shared = set.intersection(*(set(spec.attributes) for spec in specs))
    assert len(shared) >= 3
    for name in shared:
        values = {spec.attributes[name] for spec in specs}
        assert len(values) == 12 or values == {0.0, 1.0}, name


def test_attributes_are_measures_of_the_geometry():
    for seed in range(8):
        mushroom = drawn("mushroom", seed)
        whole = trimesh.util.concatenate([solid for solid, _ in mushroom.solids[:2]])
        a = mushroom.attributes
        assert whole.bounds[1, 2] == pytest.approx(a["stem_height"] + a["cap_height"])
        assert whole.bounds[1, 0] == pytest.approx(a["cap_radius"], rel=1e-2)
        assert (len(mushroom.solids) > 2) == bool(a["spots"]) == ("spotted" in mushroom.shape_words)


@pytest.mark.parametrize("seed", range(20))
def test_shape_words_name_the_outer_thirds(seed):
    spec = drawn("mushroom", seed)
    for words, attribute, low, high in (
        (spec.part_words, "stem_height", 0.35, 0.75),
        (spec.shape_words, "cap_radius", 0.32, 0.52),
    ):
        place = (spec.attributes[attribute] - low) / (high - low)
        few, many = ("short", "tall") if attribute == "stem_height" else ("narrow", "wide")
        assert 0 <= place <= 1
        assert ((few in words), (many in words)) == (place < 0.35, place > 0.65)


def test_unknown_families_and_colors():
    for family, named in (("dragon", {}), ("mug", {"main_color": "mauve"}), ("mug", {"pattern": "tartan"})):
        with pytest.raises(KeyError):
            drawn(family, **named)
    with pytest.raises(KeyError):
        drawn("mug", material="velvet")


def test_shades_stay_near_their_palette_entry():
    rng = np.random.default_rng(0)
    for name in COLOR_NAMES:
        shades = np.array([shade_of(name, rng) for _ in range(50)])
        assert (shades >= 0).all() and (shades <= 1).all()
        assert np.abs(shades - PALETTE[name]).max() <= JITTER + 1e-12 and (shades.std(axis=0) > 0.005).all()


def test_the_palette_can_be_told_apart():
    colors = np.array(list(PALETTE.values()))
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 9 * np.eye(len(colors))
    assert distances.min() > 2 * JITTER * 3**0.5


def test_other_than_draws_from_all_the_others():
    rng = np.random.default_rng(0)
    assert {other_than("red", rng) for _ in range(300)} == set(COLOR_NAMES) - {"red"}


def test_what_is_asked_for_changes_the_paint_and_not_the_shape():
    asked = [
        {"main_color": "red"},
        {"main_color": "blue"},
        {"main_color": "blue", "part_color": "pink", "pattern": "striped", "second_color": "white"},
    ]
    specs = [drawn("mug", 3, **words) for words in asked]
    assert all(np.array_equal(specs[0].mesh().vertices, spec.mesh().vertices) for spec in specs[1:])
    last = specs[2]
    assert (last.main_color, last.part_color, last.pattern, last.second_color) == ("blue", "pink", "striped", "white")
    for rgb, name in ((last.part_rgb, "pink"), (last.second_rgb, "white")):
        assert np.abs(np.subtract(rgb, PALETTE[name])).max() <= JITTER + 1e-9
