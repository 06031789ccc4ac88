"""Packages as GLB files."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dreamdist3d.mesh.glb import GlbDocument
from dreamdist3d.mesh.package.parts import Package, Part
from dreamdist3d.mesh.package.presets import level_name
from dreamdist3d.mesh.painted import Material
from dreamdist3d.mesh.write import unit_normals

ROUGHNESS = 0.9


def glb_files(package: Package, hulls_inside: bool) -> dict[str, bytes]:
    """One self-contained file for LOD0, one for each further level that shares images beside it, by file name.

    Hulls are nodes of LOD0's file, or stand in a file of their own.
    """
    images = package.images
    shared = {kind: package.image_name(kind) for kind in images}
    first, *further = package.levels
    files = {f"{package.name}.glb": _pack([first], package.hulls if hulls_inside else (), images, package.materials)}
    for number, level in enumerate(further, 1):
        files[f"{level_name(package.name, number)}.glb"] = _pack([level], (), shared, package.materials)
    if package.hulls and not hulls_inside:
        files[f"{package.name}_collision.glb"] = _pack([], package.hulls, {})
    if further:
        files |= {shared[kind]: image for kind, image in images.items()}
    return files


def _pack(
    levels: Sequence[Part],
    hulls: Sequence[Part],
    images: Mapping[str, bytes | str],
    materials: Sequence[Material] = (),
) -> bytes:
    document = GlbDocument()
    textures = {kind: {"index": document.add_texture(image)} for kind, image in images.items()} if levels else {}
    numbers: dict[int, int] = {}
    roots = []
    for part in (*levels, *hulls):
        primitives: list[tuple[np.ndarray, int | None]] = [(part.faces, None)]
        if part.uv is not None:
            for kind, _ in part.faces_by_material():
                if kind not in numbers:
                    numbers[kind] = document.add_material(_material(textures, materials[kind]))
            primitives = [(faces, numbers[kind]) for kind, faces in part.faces_by_material()]
        roots.append(document.add_node(part.name, document.add_mesh(part.name, _attributes(part), primitives)))
    return document.pack(roots)


def _material(textures: Mapping[str, dict[str, int]], kind: Material) -> dict[str, Any]:
    material: dict[str, Any] = {
        "name": "baked" if kind.alpha_mode == "OPAQUE" else f"baked {kind.alpha_mode.lower()}",
        "pbrMetallicRoughness": {
            "baseColorTexture": textures["albedo"],
            "metallicFactor": 0.0,
            "roughnessFactor": ROUGHNESS,
        },
    }
    if kind.alpha_mode != "OPAQUE":
        material["alphaMode"] = kind.alpha_mode
    if kind.alpha_mode == "MASK":
        material["alphaCutoff"] = kind.alpha_cutoff
    if kind.double_sided:
        material["doubleSided"] = True
    return material | {f"{name}Texture": textures[name] for name in ("normal", "occlusion") if name in textures}


def _attributes(part: Part) -> dict[str, np.ndarray]:
    attributes = {"POSITION": part.vertices.astype(np.float32)}
    if part.normals is not None:
        attributes["NORMAL"] = unit_normals(part.normals)
    if part.tangents is not None:
        attributes["TANGENT"] = part.tangents.astype(np.float32)
    if part.uv is not None:
        attributes["TEXCOORD_0"] = part.uv.astype(np.float32)
    return attributes
