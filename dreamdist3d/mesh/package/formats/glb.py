"""Packages as GLB files."""

from collections.abc import Mapping, Sequence

import numpy as np

from dreamdist3d.mesh.glb import GlbDocument
from dreamdist3d.mesh.package.parts import Package, Part
from dreamdist3d.mesh.package.presets import level_name
from dreamdist3d.mesh.write import unit_normals

ROUGHNESS = 0.9


def glb_files(package: Package, hulls_inside: bool) -> dict[str, bytes]:
    """One self-contained file for LOD0, one for each further level that shares images beside it, by file name.

    Hulls are nodes of LOD0's file, or stand in a file of their own.
    """
    images = package.images
    shared = {kind: package.image_name(kind) for kind in images}
    first, *further = package.levels
    files = {f"{package.name}.glb": _pack([first], package.hulls if hulls_inside else (), images)}
    for number, level in enumerate(further, 1):
        files[f"{level_name(package.name, number)}.glb"] = _pack([level], (), shared)
    if package.hulls and not hulls_inside:
        files[f"{package.name}_collision.glb"] = _pack([], package.hulls, {})
    if further:
        files |= {shared[kind]: image for kind, image in images.items()}
    return files


def _pack(levels: Sequence[Part], hulls: Sequence[Part], images: Mapping[str, bytes | str]) -> bytes:
    document = GlbDocument()
    material = document.add_material(_material(document, images)) if levels else None
    roots = []
    for part in (*levels, *hulls):
        mesh = document.add_mesh(part.name, _attributes(part), part.faces, material if part.uv is not None else None)
        roots.append(document.add_node(part.name, mesh))
    return document.pack(roots)


def _material(document: GlbDocument, images: Mapping[str, bytes | str]) -> dict:
    textures = {kind: {"index": document.add_texture(image)} for kind, image in images.items()}
    material = {
        "name": "baked",
        "pbrMetallicRoughness": {
            "baseColorTexture": textures["albedo"],
            "metallicFactor": 0.0,
            "roughnessFactor": ROUGHNESS,
        },
    }
    return material | {f"{kind}Texture": textures[kind] for kind in ("normal", "occlusion") if kind in textures}


def _attributes(part: Part) -> dict[str, np.ndarray]:
    attributes = {"POSITION": part.vertices.astype(np.float32)}
    if part.normals is not None:
        attributes["NORMAL"] = unit_normals(part.normals)
    if part.tangents is not None:
        attributes["TANGENT"] = part.tangents.astype(np.float32)
    if part.uv is not None:
        attributes["TEXCOORD_0"] = part.uv.astype(np.float32)
    return attributes
