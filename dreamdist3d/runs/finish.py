"""What follows a lift: pictures of the asset, and its mesh."""

from dreamdist3d.config import RunConfig
from dreamdist3d.files import ensure_folder
from dreamdist3d.lift import Field, render_silhouettes, save_views
from dreamdist3d.mesh import MeshSettings, Silhouettes, extract_mesh, write_glb
from dreamdist3d.runs.trial import Trial


def write_views(field: Field, trial: Trial, config: RunConfig, settings: MeshSettings) -> None:
    """Stills and a turntable."""
    save_views(field, config.lift(), ensure_folder(trial.save_folder))


def export_mesh(field: Field, trial: Trial, config: RunConfig, settings: MeshSettings) -> None:
    """The surface that looks most like the field's own renders, as GLB.

    Raises:
        UserError: the field is empty, or the file cannot be written.
    """
    silhouettes = Silhouettes(*render_silhouettes(field, config.lift()))
    device = str(next(field.parameters()).device)
    with field.cached():
        mesh = extract_mesh(field.density, field.color, field.radius, settings, silhouettes, device)
    write_glb(mesh, trial.mesh)
