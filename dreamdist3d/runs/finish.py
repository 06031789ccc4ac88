"""What follows a lift: pictures of the asset, and its mesh."""

from dreamdist3d.config import RunConfig
from dreamdist3d.files import ensure_folder
from dreamdist3d.lift import Field, save_views
from dreamdist3d.mesh import MeshSettings, write_glb
from dreamdist3d.mesh.package import export_asset
from dreamdist3d.runs.export_settings import package_settings
from dreamdist3d.runs.source import field_source
from dreamdist3d.runs.trial import Trial


def write_views(field: Field, trial: Trial, config: RunConfig, settings: MeshSettings) -> None:
    """Stills and a turntable."""
    save_views(field, config.lift(), ensure_folder(trial.save_folder))


def export_mesh(field: Field, trial: Trial, config: RunConfig, settings: MeshSettings) -> None:
    """The surface that looks most like the field's own renders, as GLB, and as a game asset if a preset is set.

    Raises:
        UserError: the field is empty, or a file cannot be written.
    """
    source = field_source(field, trial, config, settings)
    write_glb(source.painted(settings.max_triangles), trial.mesh)
    packaging = package_settings(config.export)
    if packaging is not None:
        export_asset(source, trial.mesh.parent / packaging.preset, packaging)
