"""Packages as Wavefront OBJ files with a material file and PNG images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dreamdist3d.mesh.package.formats.glb import ROUGHNESS
from dreamdist3d.mesh.package.parts import Package, Part
from dreamdist3d.mesh.package.presets import level_name


def obj_files(package: Package, levels_inside: bool) -> dict[str, bytes]:
    """By file name. All levels are objects of one file, or each further level has its own; so do the hulls."""
    images = package.images
    files = {package.image_name(kind): image for kind, image in images.items()}
    files[f"{package.name}.mtl"] = _material(package, images).encode()
    if levels_inside:
        named = [replace(level, name=f"{package.levels[0].name}_LOD{n}") for n, level in enumerate(package.levels)]
        files[f"{package.name}.obj"] = _objects(named, package.name).encode()
    else:
        for number, level in enumerate(package.levels):
            files[f"{level_name(package.name, number)}.obj"] = _objects([level], package.name).encode()
    if package.hulls:
        files[f"{package.name}_collision.obj"] = _objects(package.hulls, None).encode()
    return files


def _material(package: Package, images: dict[str, bytes]) -> str:
    """Pm, Pr and norm are the metallic-roughness extension, which not every reader knows."""
    lines = []
    for number, material in enumerate(package.materials):
        lines += [f"newmtl {_name(number)}", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "d 1", "illum 1", "Pm 0"]
        lines += [f"Pr {ROUGHNESS}", f"map_Kd {package.image_name('albedo')}"]
        if material.alpha_mode != "OPAQUE":
            lines.append(f"map_d {package.image_name('albedo')}")
        if "normal" in images:
            lines.append(f"norm {package.image_name('normal')}")
    return "\n".join(lines) + "\n"


def _name(material: int) -> str:
    return f"baked_{material}" if material else "baked"


def _objects(parts: Sequence[Part], material: str | None) -> str:
    blocks = [f"mtllib {material}.mtl"] if material else []
    start = 1  # indices count from 1, through the whole file
    for part in parts:
        blocks += [f"o {part.name}", _rows("v", part.vertices, "%.7g")]
        corner = "%d"
        if part.uv is not None and part.normals is not None:
            blocks += [_rows("vt", part.uv * [1.0, -1.0] + [0.0, 1.0], "%.7g"), _rows("vn", part.normals, "%.5g")]
            corner = "%d/%d/%d"
        for kind, faces in part.faces_by_material():
            blocks += [f"usemtl {_name(kind)}"] if part.uv is not None else []
            blocks += [_faces(faces + start, corner)]
        start += len(part.vertices)
    return "\n".join(blocks) + "\n"


def _rows(key: str, values: np.ndarray, number: str) -> str:
    line = " ".join([key, *[number] * values.shape[1]])
    return "\n".join([line] * len(values)) % tuple(values.ravel().tolist())


def _faces(faces: np.ndarray, corner: str) -> str:
    repeated = np.repeat(faces.ravel(), corner.count("%d"))
    return "\n".join([f"f {corner} {corner} {corner}"] * len(faces)) % tuple(repeated.tolist())
