"""Runs as sources of game assets."""

from pathlib import Path
from typing import Any

import torch

from dreamdist3d.backbones.licences import licence_note, terms_of_run
from dreamdist3d.config import load_config
from dreamdist3d.licences import Terms
from dreamdist3d.lift import Field, load_field, render_silhouettes
from dreamdist3d.mesh import Silhouettes
from dreamdist3d.mesh.extract import extract_surface
from dreamdist3d.mesh.package import AssetSource
from dreamdist3d.mesh.texture import field_colors
from dreamdist3d.runs import trellis
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.prepare import resolve_device
from dreamdist3d.runs.run import Run
from dreamdist3d.runs.trial import Trial


def run_source(folder: Path) -> AssetSource:
    """The asset of a trained run, from its last checkpoint.

    Raises:
        UserError: it is not the folder of a trained run, or its field is empty.
    """
    trial = Trial(folder)
    trial.require_trained()
    run = Run.of(trial, load_config(str(trial.parsed_config)))
    if run.config.system.engine == "trellis":
        return trellis.run_source(run)
    device = resolve_device(run.config.system.device)
    manifest = trial.manifest()
    field = load_field(trial.last_checkpoint, run.config.lift(), device, manifest.identity if manifest else None)
    return field_source(field, run)


def field_source(field: Field, run: Run) -> AssetSource:
    """The surface that looks most like the field's own renders, and what a viewer sees of the field there.

    The field must not change afterwards: its grids are summed once for all that is asked of it.

    Raises:
        UserError: the field is empty or not finite.
    """
    device = str(next(field.parameters()).device)
    silhouettes = Silhouettes(*render_silhouettes(field, run.config.lift()))
    summed = field.cached()
    with torch.no_grad(), summed:
        surface = extract_surface(field.density, field.radius, run.mesh, silhouettes, device, field.resolution)
    colors = field_colors(field.look, 2.0 * field.radius / run.mesh.resolution, device)

    def color_at(points: Any, normals: Any) -> Any:
        with torch.no_grad(), summed:
            return colors(points, normals)

    origin = _origin(run, surface.metadata["threshold"])
    return AssetSource(run.trial.folder.name, surface, color_at, origin, licences=tuple(_licences(origin)))


def _licences(origin: dict[str, Any]) -> list[Terms]:
    return terms_of_run(origin["backbone"]["name"], (origin["distribution"] or {}).get("learned_with"))


def _origin(run: Run, threshold: float) -> dict[str, Any]:
    """What asset.json says of a run."""
    manifest, system = run.trial.manifest() or Manifest(), run.config.system
    backbone = {"name": system.backbone, "source": system.backbone} | (manifest.backbone or {})
    return {
        "kind": "run",
        "path": str(run.trial.folder),
        "seed": run.config.seed,
        "prompt": system.prompt_processor.prompt or None,
        "draw": manifest.draw,
        "distribution": manifest.distribution,
        "backbone": {**backbone, "licence": licence_note(backbone["name"], backbone["source"])},
        "density_threshold": threshold,
    }
