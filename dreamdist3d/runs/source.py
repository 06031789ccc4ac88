"""Runs as sources of game assets."""

from pathlib import Path
from typing import Any

import torch

from dreamdist3d.backbones.catalogue import CATALOGUE
from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.errors import UserError
from dreamdist3d.lift import Field, load_field, render_silhouettes
from dreamdist3d.mesh import MeshSettings, Silhouettes
from dreamdist3d.mesh.extract import extract_surface
from dreamdist3d.mesh.package import AssetSource
from dreamdist3d.mesh.texture import field_colors
from dreamdist3d.runs.export_settings import mesh_settings
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.prepare import resolve_device
from dreamdist3d.runs.trial import Trial


def run_source(folder: Path) -> AssetSource:
    """The asset of a trained run, from its last checkpoint.

    Raises:
        UserError: it is not the folder of a trained run, or its field is empty.
    """
    trial = Trial(folder)
    if not trial.manifest_path.exists():
        raise UserError(f"{folder} is not the folder of a run: there is no run.json in it.")
    if not trial.last_checkpoint.exists():
        raise UserError(
            f"{folder} has no trained field yet: {trial.last_checkpoint} is missing; let the run end first."
        )
    config = load_config(str(trial.parsed_config))
    device = resolve_device(config.system.device)
    field = load_field(trial.last_checkpoint, config.lift(), device, trial.manifest().identity)
    return field_source(field, trial, config, mesh_settings(config.export))


def field_source(field: Field, trial: Trial, config: RunConfig, settings: MeshSettings) -> AssetSource:
    """The surface that looks most like the field's own renders, and what a viewer sees of the field there.

    The field must not change afterwards: its grids are summed once for all that is asked of it.

    Raises:
        UserError: the field is empty or not finite.
    """
    device = str(next(field.parameters()).device)
    silhouettes = Silhouettes(*render_silhouettes(field, config.lift()))
    summed = field.cached()
    with torch.no_grad(), summed:
        surface = extract_surface(field.density, field.radius, settings, silhouettes, device, field.resolution)
    colors = field_colors(field.look, 2.0 * field.radius / settings.resolution, device)

    def color_at(points: Any, normals: Any) -> Any:
        with torch.no_grad(), summed:
            return colors(points, normals)

    return AssetSource(trial.folder.name, surface, color_at, _origin(trial, config, surface.metadata["threshold"]))


def _origin(trial: Trial, config: RunConfig, threshold: float) -> dict[str, Any]:
    """What asset.json says of a run."""
    manifest = trial.manifest() or Manifest()
    backbone = manifest.backbone or {"name": config.system.backbone, "source": config.system.backbone}
    return {
        "kind": "run",
        "path": str(trial.folder),
        "seed": config.seed,
        "prompt": config.system.prompt_processor.prompt or None,
        "draw": manifest.draw,
        "distribution": manifest.distribution,
        "backbone": {**backbone, "licence": licence_note(backbone["name"], backbone["source"])},
        "density_threshold": threshold,
    }


def licence_note(name: str, source: str) -> str:
    """What is known of the terms that come with a backbone's weights."""
    if name == "mini":
        return "Apache-2.0"
    if name in CATALOGUE:
        return f"{CATALOGUE[name].licence}: it restricts uses; read it where the weights come from ({source})"
    return f"that of the weights in {source}, which dreamdist3d does not know"
