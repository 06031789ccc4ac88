"""Every format holds the same letter F: axes, scale, winding, colours."""

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.package.formats import mesh_files
from dreamdist3d.mesh.package.presets import PRESETS, PresetName
from dreamdist3d.mesh.package.settings import PackageSettings
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.read import read_painted
from tests.mesh.package.shapes import COLORS, is_letter, package, side_of


def write(folder: Path, preset: PresetName = "web", *formats: str, **shape) -> list[str]:
    """The files of the letter's package, in `folder`; their names."""
    files = mesh_files(package(**shape), PackageSettings(preset=preset, formats=formats))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return sorted(files)


def assert_painted(part: Painted) -> None:
    """Each triangle has the colour of its side, and faces that side."""
    one, two, three = (part.vertices[part.faces[:, k]] for k in range(3))
    side = side_of(np.cross(two - one, three - one))
    middle = part.color_at(np.arange(len(part.faces)), np.full((len(part.faces), 3), 1 / 3))
    assert np.abs(255 * middle - COLORS[side].astype(float)).max() <= 2


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_the_letter_reads_the_same_from_every_format_of_every_preset(tmp_path: Path, preset: PresetName, suffix: str):
    write(tmp_path, preset, suffix, levels=1, hulls=0)
    (part,) = read_painted(tmp_path / f"letter.{suffix}")
    assert is_letter(trimesh.Trimesh(part.vertices, part.faces), 1.0)
    assert_painted(part)


def test_a_further_level_shares_the_images_beside_it(tmp_path: Path):
    names = write(tmp_path, "web", "glb", levels=3, hulls=0)
    images = ["letter_albedo.png", "letter_normal.png", "letter_occlusion.png"]
    assert names == ["letter.glb", "letter_LOD1.glb", "letter_LOD2.glb", *images]
    (part,) = read_painted(tmp_path / "letter_LOD2.glb")
    assert_painted(part)
    assert (tmp_path / "letter_LOD1.glb").stat().st_size < 20_000  # no image inside
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / images[0])), package().maps.albedo)


@pytest.mark.parametrize(
    ("preset", "inside", "beside"),
    [
        ("unreal", ["letter", "hull_0", "hull_1"], None),
        ("godot", ["letter", "hull_0", "hull_1"], None),
        ("unity", ["letter"], ["hull_0", "hull_1"]),
        ("web", ["letter"], ["hull_0", "hull_1"]),
    ],
)
def test_hulls_stand_where_the_engine_looks_for_them(tmp_path: Path, preset, inside, beside):
    names = write(tmp_path, preset, "glb")
    assert sorted(trimesh.load_scene(tmp_path / "letter.glb").graph.nodes_geometry) == sorted(inside)
    assert ("letter_collision.glb" in names) == (beside is not None)
    if beside:
        assert sorted(trimesh.load_scene(tmp_path / "letter_collision.glb").graph.nodes_geometry) == beside


def test_unity_gets_all_levels_as_objects_of_one_obj_file(tmp_path: Path):
    names = write(tmp_path, "unity", "obj", levels=3, hulls=1)
    objects = [line for line in (tmp_path / "letter.obj").read_text().splitlines() if line.startswith("o ")]
    assert objects == ["o letter_LOD0", "o letter_LOD1", "o letter_LOD2"]
    assert "letter_collision.obj" in names and "letter_LOD1.obj" not in names
    parts = read_painted(tmp_path / "letter.obj")
    assert sum(len(part.faces) for part in parts) == 3 * len(package().levels[0].faces)
    for part in parts:
        assert_painted(part)
    hull = trimesh.load_mesh(tmp_path / "letter_collision.obj")
    assert hull.is_watertight and hull.volume > 0


def test_the_others_get_a_file_for_each_level(tmp_path: Path):
    names = write(tmp_path, "godot", "obj", levels=2, hulls=0)
    assert {"letter.obj", "letter_LOD1.obj", "letter.mtl", "letter_albedo.png"} <= set(names)


def test_the_glb_opens_with_a_second_loader(tmp_path: Path):
    """pygltflib reads the document; the arrays are taken from it by the standard's own rules."""
    pygltflib = pytest.importorskip("pygltflib")
    write(tmp_path, "unreal", "glb", levels=1, hulls=1)
    gltf = pygltflib.GLTF2().load(str(tmp_path / "letter.glb"))
    assert [gltf.nodes[index].name for index in gltf.scenes[gltf.scene].nodes] == ["letter", "hull_0"]
    blob = gltf.binary_blob()

    def array(index: int) -> np.ndarray:
        accessor = gltf.accessors[index]
        view = gltf.bufferViews[accessor.bufferView]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor.type]
        kind = {5126: np.float32, 5125: np.uint32}[accessor.componentType]
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        return np.frombuffer(blob, kind, accessor.count * width, start).reshape(-1, width)

    primitive = gltf.meshes[0].primitives[0]
    mesh = trimesh.Trimesh(array(primitive.attributes.POSITION), array(primitive.indices).reshape(-1, 3))
    assert is_letter(mesh, 1.0)
    assert array(primitive.attributes.TEXCOORD_0).min() >= 0
    material = gltf.materials[primitive.material]
    image = gltf.images[gltf.textures[material.pbrMetallicRoughness.baseColorTexture.index].source]
    view = gltf.bufferViews[image.bufferView]
    picture = Image.open(io.BytesIO(blob[view.byteOffset : view.byteOffset + view.byteLength]))
    np.testing.assert_array_equal(np.asarray(picture), package().maps.albedo)
    assert material.pbrMetallicRoughness.metallicFactor == 0 and material.normalTexture and material.occlusionTexture


def test_a_file_says_how_long_it_is(tmp_path: Path):
    write(tmp_path, "web", "glb")
    data = (tmp_path / "letter.glb").read_bytes()
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data))


def test_usdz_holds_the_letter_with_its_material(tmp_path: Path):
    usd = pytest.importorskip("pxr.Usd")
    from pxr import UsdGeom, UsdShade

    write(tmp_path, "web", "usdz", name="7-letters")
    path = str(tmp_path / "7-letters.usdz")
    stage = usd.Stage.Open(path)
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    (mesh,) = [UsdGeom.Mesh(prim) for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh)]
    points = np.array(mesh.GetPointsAttr().Get())
    faces = np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    assert is_letter(trimesh.Trimesh(points, faces), 1.0)
    st = np.array(UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st").Get())
    surface = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()[0].ComputeSurfaceSource()[0]
    assert {name.GetBaseName() for name in surface.GetInputs()} >= {"diffuseColor", "normal", "occlusion"}
    assert_painted(Painted(points, faces, uv=st * [1, -1] + [0, 1], texture=package().maps.albedo))


def test_usds_own_validators_find_nothing(tmp_path: Path):
    validation = pytest.importorskip("pxr.UsdValidation")
    from pxr import Usd

    write(tmp_path, "web", "usdz")
    validators = validation.ValidationRegistry().GetOrLoadAllValidators()
    context = validation.ValidationContext(validators)
    errors = context.Validate(Usd.Stage.Open(str(tmp_path / "letter.usdz")))
    assert len(validators) > 10 and [error.GetMessage() for error in errors] == []


def test_usdz_without_usd_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pxr", None)
    monkeypatch.delitem(sys.modules, "dreamdist3d.mesh.package.formats.usdz", raising=False)
    with pytest.raises(UserError, match=r"pip install 'dreamdist3d\[usd\]'"):
        mesh_files(package(), PackageSettings(preset="web", formats=("usdz",)))
