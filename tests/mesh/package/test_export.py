"""From source to folder: the letter F through every preset, real files throughout."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.axes import to_gltf
from dreamdist3d.mesh.package import (
    PHASES,
    PRESETS,
    AssetSource,
    PackageSettings,
    export,
    export_asset,
    file_source,
    pictures,
)
from dreamdist3d.mesh.package.hulls import Hulls
from dreamdist3d.mesh.package.presets import node_name
from dreamdist3d.mesh.read import read_painted
from dreamdist3d.mesh.texture import TextureSettings
from tests.mesh.package.shapes import is_letter, letter
from tests.mesh.package.test_validator import assert_clean, validator  # noqa: F401

TEXTURE = TextureSettings(size=256)
SPLIT = {"obj": {"split_objects": True, "group_material": False}}  # or the loader makes one mesh of all objects


def letter_source(name: str = "letter") -> AssetSource:
    """The F, finely divided; its colours grow with the place: red to the left, green upward, blue to the front."""
    surface = letter()
    for _ in range(3):
        surface = surface.subdivide()
    low, extent = surface.bounds[0], surface.extents

    def color_at(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        return to_gltf((30.0 + 195.0 * (points - low) / extent) / 255.0)

    return AssetSource(name, surface, color_at, {"kind": "test"})


def color_of(vertices: np.ndarray, unit: float) -> np.ndarray:
    """What `letter_source` says of places in a file whose cells are `unit` wide: [N, 3] in 0 ... 255."""
    return 30.0 + 195.0 * (vertices / unit + [1.5, 0.0, 1.0]) / [3.0, 5.0, 2.0]


@pytest.fixture(scope="module", autouse=True)
def short_turntables() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "_FRAMES", 2)
        yield


def settings(preset, **rest) -> PackageSettings:
    return PackageSettings(**{"preset": preset, "triangles": 2000, "lods": 2, "hulls": 4, "texture": TEXTURE} | rest)


@pytest.fixture(scope="module")
def unity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One full package with every format, ten metres high."""
    folder = tmp_path_factory.mktemp("assets") / "letter"
    formats = ("glb", "obj", "ply", "usdz") if trimesh.util.has_module("pxr") else ("glb", "obj", "ply")
    export_asset(letter_source(), folder, settings("unity", height_m=10.0, formats=formats))
    return folder


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_a_height_in_metres_holds_in_every_format(unity: Path, suffix: str):
    loaded = trimesh.load_scene(unity / f"letter.{suffix}", process=False, **SPLIT.get(suffix, {}))
    for mesh in loaded.geometry.values():
        assert is_letter(trimesh.Trimesh(mesh.vertices, mesh.faces), 2.0)
    assert len(loaded.geometry) == (2 if suffix == "obj" else 1)  # Unity's OBJ file holds all levels


def test_a_height_in_metres_holds_in_usdz(unity: Path):
    usd = pytest.importorskip("pxr.Usd")
    from pxr import UsdGeom

    stage = usd.Stage.Open(str(unity / "letter.usdz"))
    (mesh,) = [UsdGeom.Mesh(prim) for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh)]
    faces = np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    assert is_letter(trimesh.Trimesh(np.array(mesh.GetPointsAttr().Get()), faces), 2.0)


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_colours_come_through_within_two_steps(unity: Path, suffix: str):
    (part,) = read_painted(unity / f"letter.{suffix}")
    np.testing.assert_allclose(part.vertex_colors(), color_of(part.vertices, 2.0), atol=2)
    if suffix == "glb":
        face = np.arange(len(part.faces))
        middle = part.vertices[part.faces].mean(axis=1)
        seen = 255 * part.color_at(face, np.full((len(face), 3), 1 / 3))
        np.testing.assert_allclose(seen, color_of(middle, 2.0), atol=2)


def test_the_record_says_what_there_is(unity: Path):
    record = json.loads((unity / "asset.json").read_text())
    assert record["preset"] == "unity" and record["source"] == {"kind": "test"} and record["warnings"] == []
    assert record["height_m"] == pytest.approx(10.0) and record["bounds"][0][1] == pytest.approx(0.0)
    assert {*record["files"], "asset.json"} == {path.name for path in unity.iterdir()}
    assert record["levels"][0]["triangles"] <= 2000 and record["levels"][1]["triangles"] <= 1100
    assert 0.3 < record["texture"].pop("used") < 1.0
    assert record["texture"] == {"size": 256, "maps": ["albedo", "normal", "occlusion"]}
    assert record["quality"]["watertight"] and record["quality"]["genus"] == 0
    # In metres: the F has 7 + 3 cells of 2 m.
    assert record["quality"]["volume"] == pytest.approx(9 * 8.0, rel=0.02)
    assert record["quality"]["deviation_max"] < 0.05


def test_pictures_show_the_asset(unity: Path):
    preview = np.asarray(Image.open(unity / "preview.png"))
    assert preview.shape == (512, 512, 3) and 0.05 < (preview.min(axis=2) < 250).mean() < 0.6
    turntable = Image.open(unity / "turntable.webp")
    assert turntable.n_frames == 2
    turntable.seek(1)
    behind = np.asarray(turntable.convert("RGB")).astype(int)
    assert (preview[..., 2][preview.min(axis=2) < 250]).mean() > behind[..., 2][behind.min(axis=2) < 250].mean() + 20


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_clean_and_is_the_letter(validator: Path, tmp_path: Path, preset):  # noqa: F811
    asset = export_asset(letter_source(), tmp_path / "letter", settings(preset, formats=("glb",)))
    assert_clean(validator, sorted(asset.folder.glob("*.glb")))
    scene = trimesh.load_scene(asset.folder / "letter.glb", process=False)
    (name,) = [name for name in scene.geometry if "hull" not in name and "UCX" not in name and "convcol" not in name]
    assert name == "letter" and is_letter(trimesh.Trimesh(scene.geometry[name].vertices, scene.geometry[name].faces), 1)
    names = [hull["name"] for hull in asset.record["collision"]]
    first = {"unreal": "UCX_letter_00", "godot": "letter_00-convcolonly"}.get(preset, "letter_hull_00")
    assert names[0] == first and len(names) <= 4
    assert (first in scene.geometry) == PRESETS[preset].hulls_inside


def test_hulls_lie_where_the_mesh_lies(unity: Path):
    hulls = trimesh.load_scene(unity / "letter_collision.glb")
    np.testing.assert_allclose(hulls.bounds, [[-3, 0, -2], [3, 10, 2]], atol=0.1)


def test_a_file_becomes_the_same_asset_again(unity: Path, tmp_path: Path):
    source = file_source(unity / "letter.glb")
    asset = export_asset(source, tmp_path / "again", settings("web", height_m=5.0, lods=1, hulls=0, formats=("glb",)))
    (part,) = read_painted(asset.folder / "letter.glb")
    assert is_letter(trimesh.Trimesh(part.vertices, part.faces), 1.0)
    assert asset.record["source"] == {"kind": "file", "path": str(unity / "letter.glb")}


def test_names_never_leave_the_folder(tmp_path: Path):
    quick = settings("unreal", lods=1, hulls=1, triangles=500, texture=TextureSettings(size=64, padding=1))
    asset = export_asset(letter_source("../../evil name/.."), tmp_path / "a" / "b", quick)
    assert asset.folder == tmp_path / "a" / "b"
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    assert (asset.folder / "evil-name.glb").is_file() and asset.record["collision"][0]["name"] == "UCX_evil-name_00"


def test_a_warning_about_hulls_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hull = Hulls((letter().convex_hull,), ("one hull around everything.",))
    monkeypatch.setattr(export, "convex_hulls", lambda *asked: hull)
    quick = settings("unreal", lods=1, hulls=1, triangles=500, texture=TextureSettings(size=64, padding=1))
    asset = export_asset(letter_source(), tmp_path, quick)
    assert asset.record["warnings"].count("one hull around everything.") == 1


def test_what_is_in_the_folder_already_stays(tmp_path: Path):
    (tmp_path / "letter.glb.import").write_text("of the engine")
    phases = []
    quick = settings("godot", lods=1, hulls=0, triangles=500, texture=TextureSettings(size=64, padding=1))
    export_asset(letter_source(), tmp_path, quick, phases.append)
    assert (tmp_path / "letter.glb.import").read_text() == "of the engine" and tuple(phases) == PHASES


def test_a_flat_thing_has_no_height(tmp_path: Path):
    sheet = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 1, 2]])
    flat = AssetSource("sheet", sheet, lambda points, normals: np.ones_like(points))
    with pytest.raises(UserError, match="sheet: a flat mesh cannot be scaled to a height; leave the height out"):
        export_asset(flat, tmp_path, settings("web", height_m=1.0))


@pytest.mark.parametrize(
    ("name", "node"),
    [("spare-wheel", "spare-wheel_mesh"), ("Door_COL2", "Door_COL2_mesh"), ("wheel", "wheel"), ("column", "column")],
)
def test_godot_does_not_take_a_name_for_an_order(name: str, node: str):
    assert node_name(name, "godot") == node and node_name(name, "unity") == name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preset", "quake"),
        ("height_m", 0.0),
        ("formats", ("fbx",)),
        ("triangles", 10),
        ("lods", 0),
        ("hulls", -1),
        ("hull_seconds", 0.0),
    ],
)
def test_settings_name_the_wrong_key(key: str, value):
    with pytest.raises(UserError, match=f"package settings: {key}="):
        PackageSettings(**{"preset": "web", key: value})
