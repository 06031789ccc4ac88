"""glTF files as people's exporters write them."""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.read import read_file, read_painted
from tests.mesh.reading.files import GltfBuilder, cube, gltf, png, quarters, seen, textured

# On the side that faces +X of a cube of 1: u runs along +Y, v down along -Z.
UPPER_LEFT, UPPER_RIGHT, LOWER_LEFT = (0.5, -0.25, 0.25), (0.5, 0.25, 0.25), (0.5, -0.25, -0.25)
RED, GREEN, BLUE = [255, 0, 0], [0, 255, 0], [0, 0, 255]


def corners(part) -> list[list[int]]:
    return [seen(part, place) for place in (UPPER_LEFT, UPPER_RIGHT, LOWER_LEFT)]


def extents(parts) -> np.ndarray:
    points = np.concatenate([part.vertices for part in parts])
    return np.ptp(points, axis=0)


def test_a_plain_textured_cube_reads_in_silence(tmp_path: Path):
    file = read_file(gltf(tmp_path / "a.glb", cube(), textured(), png(quarters())))
    assert file.not_followed == () and corners(file.parts[0]) == [RED, GREEN, BLUE]


def test_white_vertex_colours_leave_a_texture_as_it_is(tmp_path: Path):
    white = cube() | {"COLOR_0": np.ones((24, 4), np.float32)}
    (part,) = read_painted(gltf(tmp_path / "a.glb", white, textured(), png(quarters())))
    assert corners(part) == [RED, GREEN, BLUE]


def test_vertex_colours_multiply_texture_and_factor_in_linear_light(tmp_path: Path):
    half = cube() | {"COLOR_0": np.tile(np.float32([0.5, 1, 1]), (24, 1))}
    gray = np.full((4, 4, 3), 188, np.uint8)  # linear 0.5029
    (part,) = read_painted(gltf(tmp_path / "a.glb", half, textured(baseColorFactor=[1, 0.5, 1, 1]), png(gray)))
    # Linear 0.2514, 0.2514, 0.5029 as sRGB (IEC 61966-2-1).
    np.testing.assert_allclose(seen(part, UPPER_LEFT), [137, 137, 188], atol=1)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_integer_colours_are_fractions_of_their_whole(tmp_path: Path, kind):
    colors = np.zeros((24, 4), kind)
    colors[:] = np.array([0.5, 0.0, 1.0, 1.0]) * np.iinfo(kind).max
    path = gltf(tmp_path / "a.glb", cube() | {"COLOR_0": colors}, textured(), normalised=("COLOR_0",))
    (part,) = read_painted(gltf(path, cube() | {"COLOR_0": colors}, {}, normalised=("COLOR_0",)))
    np.testing.assert_allclose(seen(part, UPPER_LEFT), [188, 0, 255], atol=1)


def test_quantised_positions_are_the_floats_they_stand_for(tmp_path: Path):
    arrays = cube()
    arrays["POSITION"] = np.round(arrays["POSITION"] * 32767).astype(np.int16)

    def required(builder: GltfBuilder) -> None:
        builder.document["extensionsRequired"] = ["KHR_mesh_quantization"]

    parts = read_painted(gltf(tmp_path / "a.glb", arrays, {}, edit=required, normalised=("POSITION",)))
    np.testing.assert_allclose(extents(parts), 1.0, atol=1e-4)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ({"offset": [0.5, 0.0], "scale": [0.5, 0.5]}, [GREEN, GREEN, GREEN]),
        ({"offset": [0, 1], "scale": [1, -1]}, [BLUE, [255, 255, 255], RED]),  # the standard's own example: T inverted
        # A quarter turn of the picture, clockwise: blue stands where red stood.
        ({"offset": [0, 1], "rotation": np.pi / 2}, [BLUE, RED, [255, 255, 255]]),
    ],
)
def test_texture_transforms_move_turn_and_scale(tmp_path: Path, transform, expected):
    slot = {"extensions": {"KHR_texture_transform": transform}}
    (part,) = read_painted(gltf(tmp_path / "a.glb", cube(), textured(slot=slot), png(quarters())))
    assert corners(part) == expected


def test_a_texture_may_lie_by_another_set_of_coordinates(tmp_path: Path):
    arrays = cube()
    arrays["TEXCOORD_1"], arrays["TEXCOORD_0"] = arrays["TEXCOORD_0"], np.zeros((24, 2), np.float32)
    (part,) = read_painted(gltf(tmp_path / "a.glb", arrays, textured(slot={"texCoord": 1}), png(quarters())))
    assert corners(part) == [RED, GREEN, BLUE]
    file = read_file(gltf(tmp_path / "b.glb", arrays, textured(slot={"texCoord": 5}), png(quarters())))
    assert seen(file.parts[0], UPPER_LEFT) == [255, 255, 255]
    assert file.not_followed == ("material number 0 wants texture coordinates 5, which are missing: no texture.",)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(10497, [RED, GREEN, BLUE]), (33071, [GREEN, GREEN, [255] * 3]), (33648, [GREEN, RED, [255] * 3])],
)
def test_samplers_repeat_clamp_and_mirror(tmp_path: Path, mode: int, expected):
    arrays = cube()
    arrays["TEXCOORD_0"] = arrays["TEXCOORD_0"] + np.float32([1.0, 0.0])  # one picture to the right

    def wrapped(builder: GltfBuilder) -> None:
        builder.document["samplers"] = [{"wrapS": mode, "wrapT": 10497}]
        builder.document["textures"][0]["sampler"] = 0

    (part,) = read_painted(gltf(tmp_path / "a.glb", arrays, textured(), png(quarters()), wrapped))
    assert corners(part) == expected


def test_a_sampler_of_nearest_texels_keeps_them_crisp(tmp_path: Path):
    def crisp(builder: GltfBuilder) -> None:
        builder.document["samplers"] = [{"magFilter": 9728}]
        builder.document["textures"][0]["sampler"] = 0

    (part,) = read_painted(gltf(tmp_path / "a.glb", cube(), textured(), png(quarters(2)), crisp))
    assert seen(part, (0.5, -0.01, 0.3)) == RED and seen(part, (0.5, 0.01, 0.3)) == GREEN


def test_opacity_is_kept_as_the_material_says(tmp_path: Path):
    holes = np.dstack([quarters(), np.full((16, 16), 255, np.uint8)])
    holes[:8, :8, 3] = 40
    for mode in ("OPAQUE", "MASK", "BLEND"):
        material = textured() | {"alphaMode": mode, "alphaCutoff": 0.25, "doubleSided": True}
        (part,) = read_painted(gltf(tmp_path / f"{mode}.glb", cube(), material, png(holes)))
        assert (part.material.alpha_mode, part.material.alpha_cutoff) == (mode, 0.25) and part.material.double_sided
        assert part.texture.shape[2] == (3 if mode == "OPAQUE" else 4) and corners(part)[0] == RED


def test_light_is_paint_where_there_is_no_other(tmp_path: Path):
    glow = {"emissiveFactor": [1, 1, 1], "emissiveTexture": {"index": 0}}
    dark = {"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}}
    for name, material in [("alone", glow), ("on black", glow | dark)]:
        file = read_file(gltf(tmp_path / f"{name}.glb", cube(), material, png(quarters())))
        assert corners(file.parts[0]) == [RED, GREEN, BLUE] and file.not_followed == ()
    file = read_file(gltf(tmp_path / "beside.glb", cube(), glow | textured(), png(quarters())))
    assert file.not_followed == ("material number 0 glows: its emission is not kept.",)


def test_what_a_bake_of_colour_loses_is_named(tmp_path: Path):
    material = textured(metallicFactor=1.0) | {"name": "Body", "normalTexture": {"index": 0}}
    material["extensions"] = {"KHR_materials_transmission": {}, "KHR_materials_unlit": {}}

    def more(builder: GltfBuilder) -> None:
        builder.document["animations"] = [{}, {}]
        builder.document["extensionsUsed"] = ["KHR_materials_unlit", "EXT_whatever", "KHR_materials_transmission"]

    file = read_file(gltf(tmp_path / "a.glb", cube(), material, png(quarters()), more))
    assert file.not_followed == (
        "material Body: its normal map is not kept; ours is baked from the shape.",
        "material Body: metalness and roughness are not kept; ours is matt.",
        "material Body: KHR_materials_transmission is not followed.",
        "2 animations left out: the mesh stands as it does before they begin.",
        "EXT_whatever is not followed.",
    )


def test_an_unknown_requirement_refuses_the_file_by_name(tmp_path: Path):
    def asks(builder: GltfBuilder) -> None:
        builder.document["extensionsRequired"] = ["ACME_gizmo"]

    with pytest.raises(UserError, match=r"a\.glb cannot be read as a mesh: it requires ACME_gizmo"):
        read_painted(gltf(tmp_path / "a.glb", cube(), {}, edit=asks))


def test_a_ktx2_picture_is_named_and_the_mesh_read(tmp_path: Path):
    def basis(builder: GltfBuilder) -> None:
        builder.document["extensionsRequired"] = ["KHR_texture_basisu"]
        builder.document["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]

    file = read_file(gltf(tmp_path / "a.glb", cube(), textured(), b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(80), basis))
    assert file.not_followed == ("the texture of material number 0 is left out: KHR_texture_basisu is not read.",)
    assert len(file.parts[0].faces) == 12


def test_draco_is_read(tmp_path: Path):
    draco = pytest.importorskip("DracoPy")
    arrays = cube()

    def packed(builder: GltfBuilder) -> None:
        raw = draco.encode(arrays["POSITION"], arrays["faces"].astype(np.uint32), quantization_bits=14)
        primitive = builder.document["meshes"][0]["primitives"][0]
        primitive["attributes"] = {"POSITION": primitive["attributes"]["POSITION"]}
        packing = {"bufferView": builder.view(raw), "attributes": {"POSITION": 0}}
        primitive["extensions"] = {"KHR_draco_mesh_compression": packing}
        for entry in builder.document["accessors"]:
            entry.pop("bufferView")

    parts = read_painted(gltf(tmp_path / "a.glb", arrays, {}, edit=packed))
    np.testing.assert_allclose(extents(parts), 1.0, atol=1e-3)
    assert len(parts[0].faces) == 12


def pack_by_meshopt(builder: GltfBuilder) -> None:
    from meshopt import encode_gltf_buffer

    for number, mode, stride in ((0, "ATTRIBUTES", 12), (3, "TRIANGLES", 2)):
        view = builder.document["bufferViews"][number]
        raw = bytes(builder.data[view["byteOffset"] : view["byteOffset"] + view["byteLength"]])
        values = np.frombuffer(raw, np.float32).reshape(-1, 3) if number == 0 else np.frombuffer(raw, np.uint16)
        packed = builder.document["bufferViews"][builder.view(encode_gltf_buffer(values, mode))]
        packing = packed | {"byteStride": stride, "count": len(raw) // stride, "mode": mode}
        view |= {"buffer": 1, "extensions": {"EXT_meshopt_compression": packing}}
        builder.document["bufferViews"].pop()
    builder.document["extensionsRequired"] = ["EXT_meshopt_compression"]


def test_meshopt_is_read_or_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("meshopt")
    path = gltf(tmp_path / "a.glb", cube(), {}, edit=pack_by_meshopt)
    path.write_bytes(_second_buffer(path.read_bytes()))
    np.testing.assert_allclose(extents(read_painted(path)), 1.0, atol=1e-6)
    monkeypatch.setitem(sys.modules, "meshopt", None)
    with pytest.raises(UserError, match=r"compressed by meshoptimizer: pip install 'dreamdist3d\[meshopt\]'"):
        read_painted(path)


def _second_buffer(data: bytes) -> bytes:
    """With one that holds nothing, which the standard wants for readers that do not know the compression."""
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    fallback = {"byteLength": 10_000, "extensions": {"EXT_meshopt_compression": {"fallback": True}}}
    document["buffers"].append(fallback)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


def test_a_skin_stands_as_its_joints_do_and_its_node_is_ignored(tmp_path: Path):
    arrays = cube() | {
        "JOINTS_0": np.zeros((24, 4), np.uint8),
        "WEIGHTS_0": np.tile(np.float32([1, 0, 0, 0]), (24, 1)),
    }

    def skinned(builder: GltfBuilder) -> None:
        bind = np.eye(4, dtype=np.float32)
        bind[3, :3] = [-10, 0, 0]  # columns first: the joint stood at x = 10 when the mesh was bound
        builder.document["skins"] = [{"joints": [1], "inverseBindMatrices": builder.accessor(bind.reshape(1, 16))}]
        builder.document["nodes"] = [
            {"mesh": 0, "skin": 0, "translation": [0, 500, 0], "scale": [7, 7, 7]},
            {"translation": [12, 0, 0]},
        ]
        builder.document["scenes"] = [{"nodes": [0, 1]}]

    (part,) = read_painted(gltf(tmp_path / "a.glb", arrays, {}, edit=skinned))
    np.testing.assert_allclose(part.vertices.min(axis=0), [1.5, -0.5, -0.5])
    np.testing.assert_allclose(part.vertices.max(axis=0), [2.5, 0.5, 0.5])


def test_instances_stand_where_they_are_put(tmp_path: Path):
    def instanced(builder: GltfBuilder) -> None:
        places = builder.accessor(np.float32([[0, 0, 0], [4, 0, 0], [0, 6, 0]]))
        extension = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": places}}}
        builder.document["nodes"][0]["extensions"] = extension
        builder.document["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]

    parts = read_painted(gltf(tmp_path / "a.glb", cube(), {}, edit=instanced))
    assert len(parts) == 3
    np.testing.assert_allclose(extents(parts), [5, 7, 1], atol=1e-6)


def test_the_default_scene_is_read_and_the_others_named(tmp_path: Path):
    def two(builder: GltfBuilder) -> None:
        builder.document["nodes"].append({"mesh": 0, "translation": [9, 0, 0]})
        builder.document["scenes"] = [{"nodes": [0]}, {"nodes": [1]}]
        builder.document["scene"] = 1

    file = read_file(gltf(tmp_path / "a.glb", cube(), {}, edit=two))
    assert file.parts[0].vertices[:, 0].min() == pytest.approx(8.5)
    assert file.not_followed == ("1 other scene left out.",)


def test_a_mirrored_node_keeps_its_faces_outward(tmp_path: Path):
    def mirrored(builder: GltfBuilder) -> None:
        builder.document["nodes"][0]["scale"] = [-2, 1, 1]

    (part,) = read_painted(gltf(tmp_path / "a.glb", cube(), {}, edit=mirrored))
    one, two, three = (part.vertices[part.faces[:, k]] for k in range(3))
    normals = np.cross(two - one, three - one)
    assert (np.einsum("fj,fj->f", normals, (one + two + three)) > 0).all()
    assert (np.einsum("fj,fj->f", normals, part.normals[part.faces[:, 0]]) > 0).all()


@pytest.mark.parametrize(("mode", "indices"), [(5, [0, 1, 3, 2]), (6, [0, 1, 2, 3])])
def test_strips_and_fans_are_triangles(tmp_path: Path, mode: int, indices: list[int]):
    arrays = {"POSITION": cube()["POSITION"][:4], "faces": np.array(indices, np.uint16)}

    def moded(builder: GltfBuilder) -> None:
        builder.document["meshes"][0]["primitives"][0]["mode"] = mode

    (part,) = read_painted(gltf(tmp_path / "a.glb", arrays, edit=moded))
    one, two, three = (part.vertices[part.faces[:, k]] for k in range(3))
    np.testing.assert_allclose(np.cross(two - one, three - one), [[1, 0, 0]] * 2, atol=1e-6)


def test_morphs_stand_at_the_files_weights(tmp_path: Path):
    def morphed(builder: GltfBuilder) -> None:
        target = {"POSITION": builder.accessor(np.tile(np.float32([0, 0, 2]), (24, 1)))}
        builder.document["meshes"][0]["primitives"][0]["targets"] = [target]
        builder.document["meshes"][0]["weights"] = [0.5]

    file = read_file(gltf(tmp_path / "a.glb", cube(), {}, edit=morphed))
    assert file.parts[0].vertices[:, 2].min() == pytest.approx(0.5)
    assert file.not_followed == ("morph targets are baked in at the file's own weights.",)


def test_sparse_accessors_are_filled_in(tmp_path: Path):
    def sparse(builder: GltfBuilder) -> None:
        entry = builder.document["accessors"][0]
        places, values = builder.view(np.uint16([0]).tobytes()), builder.view(np.float32([3, 0, 0]).tobytes())
        entry["sparse"] = {
            "count": 1,
            "indices": {"bufferView": places, "componentType": 5123},
            "values": {"bufferView": values},
        }

    (part,) = read_painted(gltf(tmp_path / "a.glb", cube(), {}, edit=sparse))
    np.testing.assert_allclose(part.vertices[0], [3, 0, 0])


def _set(**values):
    def edit(builder: GltfBuilder) -> None:
        builder.document["accessors"][3] |= values

    return edit


def _loop(builder: GltfBuilder) -> None:
    builder.document["nodes"] = [{"children": [0], "mesh": 0}]


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda b: b.data.__setitem__(slice(-72, -68), b"\0\0\0\x4d"), "names vertex 19712 of 24"),
        (_set(count=10**9), "cannot be"),
        (_set(count=40), "reaches past"),
        (_set(componentType=7), "lacks a count, a type or a component type"),
        (_loop, "two parents, or is its own"),
        (lambda b: b.document.pop("accessors"), "accessors 0, which is not there"),
        (lambda b: b.document["asset"].__setitem__("version", "1.0"), "export it as glTF 2.0"),
        (lambda b: b.document.__setitem__("nodes", [{}]), "holds no triangles"),
    ],
)
def test_what_is_broken_is_one_line(tmp_path: Path, edit, match: str):
    with pytest.raises(UserError, match=match) as error:
        read_painted(gltf(tmp_path / "broken.glb", cube(), {}, edit=edit))
    assert "broken.glb" in str(error.value) and "\n" not in str(error.value)


def test_a_document_with_files_beside_it(tmp_path: Path):
    path = gltf(tmp_path / "a.glb", cube(), textured(), png(quarters()))
    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    (tmp_path / "some folder").mkdir()
    (tmp_path / "some folder" / "cube.bin").write_bytes(data[28 + length :])
    (tmp_path / "Tex.PNG").write_bytes(png(quarters()))
    document["buffers"][0]["uri"] = "some%20folder/cube.bin"
    document["images"] = [{"uri": "tex.png"}]
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    (part,) = read_painted(tmp_path / "a.gltf")
    assert corners(part) == [RED, GREEN, BLUE]
    (tmp_path / "some folder" / "cube.bin").unlink()
    with pytest.raises(UserError, match="some%20folder/cube.bin is missing beside it"):
        read_painted(tmp_path / "a.gltf")
