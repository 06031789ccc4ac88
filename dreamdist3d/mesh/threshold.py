"""The density at which a field's surface is taken, chosen by how the field looks."""

import math

import torch

from dreamdist3d.mesh.sampling import PointFunction, sample_grid
from dreamdist3d.mesh.settings import MeshSettings
from dreamdist3d.mesh.silhouettes import Silhouettes, silhouette_agreement
from dreamdist3d.mesh.surface import closed_surface, drop_floaters


def choose_threshold(
    density: PointFunction,
    radius: float,
    settings: MeshSettings,
    silhouettes: Silhouettes,
    device: torch.device | str = "cpu",
) -> float:
    """The candidate whose surface agrees best with the field's silhouettes.

    No fixed density fits every field: distillation leaves some objects as hard shells and others as
    soft fog. Candidates that agree equally well are told apart by nearness to `settings.threshold`.
    """
    grid = sample_grid(density, radius, settings.search_resolution, device)

    def rank(threshold: float) -> tuple[float, float]:
        mesh = closed_surface(grid, radius, threshold, settings.smooth_voxels, settings.seal_fraction)
        if len(mesh.faces):
            mesh = drop_floaters(mesh, settings.floater_fraction)
        return silhouette_agreement(mesh, silhouettes), -abs(math.log(threshold / settings.threshold))

    return max(settings.thresholds, key=rank)
