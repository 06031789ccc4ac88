"""From a source to a folder that an engine takes."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, safe_name, write_bytes, write_json
from dreamdist3d.mesh.axes import Placement, placement, to_gltf
from dreamdist3d.mesh.package.formats import mesh_files
from dreamdist3d.mesh.package.hulls import Hulls, convex_hulls
from dreamdist3d.mesh.package.parts import Package, Part
from dreamdist3d.mesh.package.pictures import preview, turntable
from dreamdist3d.mesh.package.presets import PRESETS, level_name, node_name
from dreamdist3d.mesh.package.record import RECORD_NAME, asset_record
from dreamdist3d.mesh.package.settings import PackageSettings
from dreamdist3d.mesh.package.source import AssetSource
from dreamdist3d.mesh.quality import MeshQuality, measure_quality
from dreamdist3d.mesh.shading import CREASE_DEG, carried_over
from dreamdist3d.mesh.simplify import simplify
from dreamdist3d.mesh.texture import TexturedMesh, simplified_levels, texture_mesh
from dreamdist3d.mesh.texture.tangents import vertex_tangents
from dreamdist3d.mesh.write import unit_normals

# Hulls and quality are begun beside the texture, which waits for xatlas, and only waited for in their phases.
PHASES = ("simplify", "texture", "levels", "hulls", "quality", "pictures", "files")
_STRAYS = 0.03  # of its size; a mesh that is farther from its source has lost parts of it
_WORTH = 0.9  # a level with more than this share of the triangles of the one before is none


@dataclass(frozen=True)
class ExportedAsset:
    """A written package: its folder and what its asset.json says."""

    folder: Path
    record: Mapping[str, Any]


def export_asset(
    source: AssetSource, folder: Path, settings: PackageSettings, begins: Callable[[str], None] = lambda phase: None
) -> ExportedAsset:
    """Write the package of one asset into `folder`: meshes, preview.png, turntable.webp and asset.json.

    Files of other names that are in the folder already, such as an engine's import settings, stay.

    Args:
        begins: is told each of `PHASES` when it begins.

    Raises:
        UserError: the folder cannot be written, the texture is too small for the mesh, the mesh is flat and
            has no height to scale, or a format or the renderer needs a package that is not installed.
    """
    ensure_folder(folder)
    return write_asset(bake_asset(source, settings, begins), folder, settings, begins)


@dataclass(frozen=True, eq=False)
class BakedAsset:
    """All that costs time, before an engine's names and formats; it can be written for several."""

    source: AssetSource
    levels: tuple[TexturedMesh, ...]
    hulls: Hulls
    place: Placement
    quality: MeshQuality
    pictures: dict[str, bytes]  # by file name


def bake_asset(
    source: AssetSource, settings: PackageSettings, begins: Callable[[str], None] = lambda phase: None
) -> BakedAsset:
    """Simplify, texture, thin out, cut and picture; of the settings, preset and formats do not matter here.

    Raises:
        UserError: the texture is too small for the mesh, the mesh is flat and has no height to scale, or the renderer
            is not installed.
    """
    begins("simplify")
    shaded = source.shaded(settings.crease_deg)
    solid, textured = _simplified(source, shaded, settings)
    place = _place(source, solid, settings)
    with ThreadPoolExecutor(2) as beside:
        cutting = beside.submit(_hulls, solid, settings)
        measuring = beside.submit(measure_quality, _placed(solid, place), _placed(source.surface, place))
        begins("texture")
        first = texture_mesh(textured, source.color_at, settings.texture, dense=shaded)
        begins("levels")
        levels = _worth_writing((first, *simplified_levels(first, settings.ratios)))
        begins("hulls")
        hulls = cutting.result()
        begins("quality")
        quality = measuring.result()
    begins("pictures")
    baked = BakedAsset(source, levels, hulls, place, quality, {})
    package = _package(baked, settings)
    pictures = {
        "preview.png": preview(package, settings.renderer),
        "turntable.webp": turntable(package, settings.renderer),
    }
    return replace(baked, pictures=pictures)


def write_asset(
    baked: BakedAsset, folder: Path, settings: PackageSettings, begins: Callable[[str], None] = lambda phase: None
) -> ExportedAsset:
    """Write what was baked into `folder`, as the preset wants it; see `export_asset`."""
    package = _package(baked, settings)
    begins("files")
    files = mesh_files(package, settings) | baked.pictures
    for name, content in files.items():
        write_bytes(folder / name, content)
    of_levels = [warning for level in baked.levels for warning in level.warnings]
    warnings = [*_shape_warnings(baked.quality, settings), *of_levels, *baked.hulls.warnings]
    record = asset_record(baked.source, package, baked.quality, settings, list(files), warnings)
    write_json(folder / RECORD_NAME, record)
    return ExportedAsset(folder, record)


def _hulls(solid: trimesh.Trimesh, settings: PackageSettings) -> Hulls:
    return convex_hulls(solid, settings.hulls, settings.hull_seconds) if settings.hulls else Hulls(())


def _simplified(
    source: AssetSource, shaded: trimesh.Trimesh, settings: PackageSettings
) -> tuple[trimesh.Trimesh, trimesh.Trimesh]:
    """The mesh within the budget, its vertices welded, and the same one split at hard edges."""
    solid = simplify(source.surface, settings.triangles)
    if solid is source.surface:
        return solid, shaded
    if shaded is source.surface:
        return solid, solid
    return solid, carried_over(solid, shaded, settings.crease_deg or CREASE_DEG)


def _worth_writing(levels: tuple[TexturedMesh, ...]) -> tuple[TexturedMesh, ...]:
    """Without levels that hardly differ from the one before: an engine would switch between equals."""
    kept = list(levels[:1])
    for number, level in enumerate(levels[1:], 1):
        if len(level.faces) > _WORTH * len(kept[-1].faces):
            count = len(levels) - number
            line = f"{count} of {len(levels)} levels left out: {len(kept[-1].faces)} triangles can hardly get fewer."
            kept[-1] = replace(kept[-1], warnings=(*kept[-1].warnings, line))
            break
        kept.append(level)
    return tuple(kept)


def _place(source: AssetSource, solid: trimesh.Trimesh, settings: PackageSettings) -> Placement:
    try:
        return placement(solid.vertices, settings.height_m, source.metres)
    except ValueError as error:
        raise UserError(f"{source.name}: {error}; leave the height out.") from error


def _package(baked: BakedAsset, settings: PackageSettings) -> Package:
    """All parts where the files hold them, moved alike."""
    source, place = baked.source, baked.place
    name, preset = safe_name(source.name), PRESETS[settings.preset]
    node = node_name(name, settings.preset)
    return Package(
        name,
        tuple(_level(level, level_name(node, number), place, source) for number, level in enumerate(baked.levels)),
        tuple(
            Part(preset.hull.format(name=node, number=number), place.points(hull.vertices), hull.faces)
            for number, hull in enumerate(baked.hulls.meshes)
        ),
        baked.levels[0].maps,
        source.materials,
    )


def _level(level: TexturedMesh, name: str, place: Placement, source: AssetSource) -> Part:
    vertices, normals = to_gltf(level.vertices), unit_normals(to_gltf(level.normals)).astype(np.float64)
    has_normal_map = level.maps.normal is not None
    # Before the scale in metres, which may be tiny, and after the normals' fallback, to which they stand upright.
    tangents = vertex_tangents(vertices, level.faces, normals, level.uv) if has_normal_map else None
    kinds = source.material_at(level.vertices[level.faces].mean(axis=1)) if len(source.materials) > 1 else None
    return Part(name, place.points(level.vertices), level.faces, normals, level.uv, tangents, kinds)


def _placed(mesh: trimesh.Trimesh, place: Placement) -> trimesh.Trimesh:
    return trimesh.Trimesh(place.points(mesh.vertices), mesh.faces, process=False)


def _shape_warnings(quality: MeshQuality, settings: PackageSettings) -> list[str]:
    warnings = []
    if not quality.watertight:
        warnings.append("the mesh is not closed; engines that voxelise or light it may show holes.")
    if quality.deviation_max is not None and quality.deviation_max > _STRAYS * max(quality.extents):
        percent = 100.0 * quality.deviation_max / max(quality.extents)
        warnings.append(f"the mesh strays up to {percent:.0f} % of its size from its source: allow more triangles.")
    if quality.triangles > settings.triangles:
        warnings.append(f"the mesh has {quality.triangles} triangles, more than the {settings.triangles} asked for.")
    return warnings
