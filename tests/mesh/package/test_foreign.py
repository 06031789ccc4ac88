"""Other people's files through the whole export: colours, sizes, counts and the validator's verdict."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from dreamdist3d.mesh.package import ExportedAsset, PackageSettings, export_asset, file_source, pictures
from dreamdist3d.mesh.read import read_file, read_painted
from dreamdist3d.mesh.texture import TextureSettings
from tests.mesh.package.test_validator import assert_clean, validator  # noqa: F401
from tests.mesh.reading.files import cube, gltf, png, quarters, seen, textured
from tests.mesh.reading.test_obj import points, sides, write as write_obj

SETTINGS = PackageSettings("web", lods=3, hulls=0, texture=TextureSettings(size=128, supersample=1))
# Above left, above right and below left on the side that faces +X of a cube of 1 that stands on the ground.
PLACES = (0.5, 0.9, 0.4), (0.5, 0.9, -0.4), (0.5, 0.1, 0.4)


@pytest.fixture(scope="module", autouse=True)
def small_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PREVIEW_SIZE": 64, "TURNTABLE_SIZE": 16, "FRAMES": 2}.items():
            patch.setattr(pictures, f"_{name}", value)
        yield


def exported(path: Path, settings: PackageSettings = SETTINGS) -> ExportedAsset:
    return export_asset(file_source(path), path.parent / "asset", settings)


def made(asset: ExportedAsset) -> Path:
    return asset.folder / f"{asset.record['name']}.glb"


def whole(asset: ExportedAsset) -> trimesh.Trimesh:
    """LOD0 without its texture, its vertices as the file has them."""
    parts = read_painted(made(asset))
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    vertices, normals = (np.concatenate([getattr(p, name) for p in parts]) for name in ("vertices", "normals"))
    return trimesh.Trimesh(vertices, faces, vertex_normals=normals, process=False)


@pytest.mark.parametrize("size", [0.01, 1.0, 300.0])
def test_a_cube_of_any_size_comes_through_alike(validator: Path, tmp_path: Path, size: float):  # noqa: F811
    asset = exported(gltf(tmp_path / "cube.glb", cube(size), textured(), png(quarters())))
    assert_clean(validator, sorted(asset.folder.glob("*.glb")))
    assert asset.record["height_m"] == pytest.approx(size) and asset.record["not_followed"] == []
    assert asset.record["texture"]["used"] > 0.4
    (part,) = read_painted(made(asset))
    part = replace(part, vertices=part.vertices / size)
    (source,) = read_painted(tmp_path / "cube.glb")
    source = replace(source, vertices=source.vertices / size + [0, 0.5, 0])
    found, expected = ([seen(one, place) for place in PLACES] for one in (part, source))
    assert len({tuple(color) for color in expected}) == 3
    np.testing.assert_allclose(found, expected, atol=2)


def test_hard_edges_stay_hard_in_every_level_and_in_the_normal_map(tmp_path: Path):
    arrays = cube()
    points_, faces = arrays["POSITION"], arrays["faces"].astype(np.int64)
    fine = trimesh.Trimesh(points_, faces, process=False)
    for _ in range(4):
        fine = fine.subdivide()
    dense = {"POSITION": fine.vertices, "NORMAL": np.sign(np.round(fine.face_normals[face_of(fine)]))}
    dense = {name: values.astype(np.float32) for name, values in dense.items()}
    asset = exported(gltf(tmp_path / "cube.glb", dense | {"faces": fine.faces.astype(np.uint16)}, {}))
    assert len(asset.record["levels"]) == 3
    for level in asset.record["levels"]:
        (part,) = read_painted(asset.folder / f"{level['name']}.glb")
        mesh = trimesh.Trimesh(part.vertices, part.faces, process=False)
        cosine = np.einsum("fkj,fj->fk", part.normals[part.faces], mesh.face_normals)
        assert cosine.min() > 0.999, level["name"]
    flat = np.asarray(Image.open(asset.folder / "cube_normal.png")).astype(int)
    assert np.abs(flat - [128, 128, 255]).max() <= 2


def face_of(mesh: trimesh.Trimesh) -> np.ndarray:
    """A face at each vertex; those of one vertex of a cube whose sides are apart lie in one plane."""
    found = np.zeros(len(mesh.vertices), np.int64)
    found[mesh.faces] = np.arange(len(mesh.faces))[:, None]
    return found


def test_a_crease_that_is_asked_for_rules(tmp_path: Path):
    path = gltf(tmp_path / "cube.glb", cube(), {})
    smooth = whole(exported(path, replace(SETTINGS, crease_deg=180.0)))
    outward = smooth.vertices - [0, 0.5, 0]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    np.testing.assert_allclose(np.einsum("vj,vj->v", smooth.vertex_normals, outward), 1.0, atol=1e-3)


@pytest.mark.parametrize("mode", ["MASK", "BLEND"])
def test_opacity_is_baked_and_the_material_keeps_its_mode(validator: Path, tmp_path: Path, mode: str):  # noqa: F811
    holes = np.dstack([quarters(32), np.full((32, 32), 255, np.uint8)])
    holes[8:24, 8:24, 3] = 0
    material = textured() | {"alphaMode": mode, "doubleSided": True} | ({"alphaCutoff": 0.3} if mode == "MASK" else {})
    asset = exported(gltf(tmp_path / "cube.glb", cube(), material, png(holes)))
    assert_clean(validator, sorted(asset.folder.glob("*.glb")))
    (part,) = read_painted(made(asset))
    assert part.material.alpha_mode == mode and part.material.double_sided
    assert part.material.alpha_cutoff == (0.3 if mode == "MASK" else 0.5)
    side = np.flatnonzero(np.isclose(part.vertices[part.faces][..., 0].min(axis=1), 0.5))
    corners = part.vertices[part.faces[side]]
    opacity = []
    for place in ((0.5, 0.5, 0.05), (0.5, 0.95, 0.4)):
        weights = trimesh.triangles.points_to_barycentric(corners, np.tile(place, (len(side), 1)))
        best = int(weights.min(axis=1).argmax())
        opacity.append(part.rgba_at(side[[best]], weights[[best]])[0, 3])
    assert opacity[0] < 0.05 and opacity[1] > 0.95


def test_opaque_and_clear_parts_keep_materials_of_their_own(validator: Path, tmp_path: Path):  # noqa: F811
    def two(builder) -> None:
        glass = {"alphaMode": "BLEND", "pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 0.5]}}
        builder.document["materials"].append(glass)
        primitive = dict(builder.document["meshes"][0]["primitives"][0], material=1)
        builder.document["meshes"].append({"primitives": [primitive]})
        builder.document["nodes"].append({"mesh": 1, "translation": [3, 0, 0]})
        builder.document["scenes"] = [{"nodes": [0, 1]}]

    solid = {"pbrMetallicRoughness": {"baseColorFactor": [0, 1, 0, 1]}}
    asset = exported(gltf(tmp_path / "pair.glb", cube(), solid, edit=two), replace(SETTINGS, formats=("glb", "obj")))
    assert_clean(validator, sorted(asset.folder.glob("*.glb")))
    for suffix in ("glb", "obj"):
        found = {part.material.alpha_mode == "OPAQUE": part for part in read_painted(asset.folder / f"pair.{suffix}")}
        opaque, clear = found[True], found[False]
        assert opaque.vertices[opaque.faces][..., 0].max() < 0 < clear.vertices[clear.faces][..., 0].min()
        middle = np.full((1, 3), 1 / 3)
        np.testing.assert_allclose(clear.rgba_at(np.array([0]), middle)[0], [1, 0, 0, 0.5], atol=0.02)
        np.testing.assert_allclose(opaque.rgba_at(np.array([0]), middle)[0, :3], [0, 1, 0], atol=0.02)


def test_open_meshes_of_formats_without_sides_are_seen_from_both(tmp_path: Path):
    asset = exported(write_obj(tmp_path, [*points(), *sides()[1:]], name="open.obj"))
    (part,) = read_painted(made(asset))
    assert part.material.double_sided
    closed = exported(write_obj(tmp_path / "b", [*points(), *sides()], name="closed.obj"))
    assert not read_painted(made(closed))[0].material.double_sided


def test_slivers_and_crumbs_make_no_bad_normals_and_no_pairs(validator: Path, tmp_path: Path):  # noqa: F811
    lines = [*points(), "v 2 0 0", "v 3 0 0", "v 4 0 0", *sides(), "f 9 10 11"]
    asset = exported(write_obj(tmp_path / "a", lines))
    assert_clean(validator, sorted(asset.folder.glob("*.glb")))
    assert asset.record["levels"][0]["triangles"] == 12 and asset.record["height_m"] == pytest.approx(1.0)
    assert asset.record["not_followed"] == ["1 triangle without area left out."]
    lines = [*points(), "v 2 0 0", "v 2.02 0 0", "v 2 0.02 0", *sides(), "f 9 10 11"]
    asset = exported(write_obj(tmp_path / "b", lines))
    assert_clean(validator, sorted(asset.folder.glob("*.glb")))
    assert asset.record["levels"][0]["triangles"] == 13


def test_levels_that_cannot_get_fewer_are_not_written(tmp_path: Path):
    asset = exported(gltf(tmp_path / "cube.glb", cube(), {}))
    assert [level["triangles"] for level in asset.record["levels"]] == [12]
    assert asset.record["warnings"] == ["2 of 3 levels left out: 12 triangles can hardly get fewer."]
    assert sorted(path.name for path in asset.folder.glob("cube*.glb")) == ["cube.glb"]


def test_colours_of_faces_and_what_was_not_followed_reach_the_asset(tmp_path: Path):
    material = textured() | {"name": "Skin", "normalTexture": {"index": 0}}
    path = gltf(tmp_path / "cube.glb", cube(), material, png(quarters()))
    asset = exported(path)
    assert asset.record["not_followed"] == list(read_file(path).not_followed)
    assert asset.record["not_followed"] == ["material Skin: its normal map is not kept; ours is baked from the shape."]
