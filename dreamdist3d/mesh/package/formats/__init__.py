"""The mesh files of a package."""

from dreamdist3d.choices import MeshFormat
from dreamdist3d.mesh.package.formats.glb import glb_files
from dreamdist3d.mesh.package.formats.obj import obj_files
from dreamdist3d.mesh.package.formats.ply import ply_files
from dreamdist3d.mesh.package.parts import Package
from dreamdist3d.mesh.package.presets import PRESETS
from dreamdist3d.mesh.package.settings import PackageSettings


def mesh_files(package: Package, settings: PackageSettings) -> dict[str, bytes]:
    """Every file of the wanted formats, by name.

    Raises:
        UserError: USDZ is wanted and usd-core is not installed.
    """
    files: dict[str, bytes] = {}
    for kind in settings.written:
        files |= _files(package, kind, settings)
    return files


def _files(package: Package, kind: MeshFormat, settings: PackageSettings) -> dict[str, bytes]:
    preset = PRESETS[settings.preset]
    if kind == "glb":
        return glb_files(package, preset.hulls_inside)
    if kind == "obj":
        return obj_files(package, preset.obj_levels_inside)
    if kind == "ply":
        return ply_files(package)
    from dreamdist3d.mesh.package.formats.usdz import usdz_files

    return usdz_files(package)
