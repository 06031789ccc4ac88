"""One run as it was asked for, every value made concrete and checked; from here on it is handed down whole."""

from dataclasses import dataclass, fields

from dreamdist3d.config import ExportConfig, RunConfig
from dreamdist3d.mesh import MeshSettings
from dreamdist3d.mesh.package import PackageSettings
from dreamdist3d.mesh.texture import TextureSettings
from dreamdist3d.runs.trial import Trial, locate


@dataclass(frozen=True)
class Run:
    """Where a run lives, what it is made with, and how its field becomes a mesh and, if asked for, a game asset."""

    trial: Trial
    config: RunConfig
    mesh: MeshSettings
    package: PackageSettings | None

    @classmethod
    def of(cls, trial: Trial, config: RunConfig) -> "Run":
        """The run of a configuration whose tag, prompt and draw are concrete.

        Raises:
            UserError: an export setting outside its range; the message names the key.
        """
        return cls(trial, config, mesh_settings(config.export), package_settings(config.export))


def located(config: RunConfig) -> Run:
    """The run that a configuration asks for; see `locate`.

    Raises:
        UserError: as `Run.of` and `locate`.
    """
    mesh, package = mesh_settings(config.export), package_settings(config.export)  # before any folder is looked at
    trial, concrete = locate(config)
    return Run(trial, concrete, mesh, package)


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
