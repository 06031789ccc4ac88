"""The export section of a configuration, as the settings of meshes and packages."""

from dataclasses import fields

from dreamdist3d.config import ExportConfig
from dreamdist3d.mesh import MeshSettings
from dreamdist3d.mesh.package import PackageSettings
from dreamdist3d.mesh.texture import TextureSettings


def mesh_settings(export: ExportConfig) -> MeshSettings:
    """How the field becomes a mesh.

    Raises:
        UserError: a value outside its range; the message names the key.
    """
    shared = {field.name for field in fields(MeshSettings)} & {field.name for field in fields(ExportConfig)}
    return MeshSettings(**{name: getattr(export, name) for name in shared})


def package_settings(export: ExportConfig) -> PackageSettings | None:
    """How the mesh becomes a game asset; None when no preset asks for one.

    Raises:
        UserError: a value outside its range; the message names the key.
    """
    if export.preset is None:
        return None
    return PackageSettings(
        preset=export.preset,
        height_m=export.height_m,
        formats=export.formats,
        triangles=export.max_triangles,
        lods=export.lods,
        hulls=export.hulls,
        texture=TextureSettings(size=export.texture_size),
    )
