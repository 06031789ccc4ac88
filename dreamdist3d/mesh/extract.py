"""The road from a field to a coloured mesh."""

import torch
import trimesh
from trimesh.smoothing import filter_taubin

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.colors import surface_colors
from dreamdist3d.mesh.sampling import PointFunction, sample_grid
from dreamdist3d.mesh.settings import MeshSettings
from dreamdist3d.mesh.silhouettes import Silhouettes
from dreamdist3d.mesh.simplify import simplify
from dreamdist3d.mesh.surface import closed_surface, drop_floaters
from dreamdist3d.mesh.threshold import choose_threshold

_DEFAULTS = MeshSettings()


def extract_mesh(
    density: PointFunction,
    color: PointFunction,
    radius: float,
    settings: MeshSettings = _DEFAULTS,
    silhouettes: Silhouettes | None = None,
    device: torch.device | str = "cpu",
) -> trimesh.Trimesh:
    """The field's surface inside the cube [-radius, radius]^3, in world axes (z up, front +x).

    Args:
        density: [N, 3] world points -> [N] densities per world unit, >= 0.
        color: [N, 3] world points -> [N, 3] sRGB in [0, 1].
        radius: half the edge of the cube, world units.
        settings: grid, smoothing, simplification.
        silhouettes: the field's own opacities, by which the density threshold is chosen;
            without them it is `settings.threshold`.
        device: where `density` and `color` take their points.

    Returns:
        A closed mesh with outward normals and sRGB uint8 vertex colours; `metadata["threshold"]`
        is the density its surface was taken at.

    Raises:
        UserError: the field is empty or holds values that are not finite.
    """
    threshold = settings.threshold
    if silhouettes is not None:
        threshold = choose_threshold(density, radius, settings, silhouettes, device)
    grid = sample_grid(density, radius, settings.resolution, device)
    mesh = closed_surface(grid, radius, threshold, settings.smooth_voxels)
    if not len(mesh.faces):
        raise UserError(
            f"the asset is empty: no density above {threshold:g} (highest {grid.max():.3g}); "
            "lift it again with another seed or more steps, or lower the mesh threshold."
        )
    mesh = _finish(mesh, settings)
    mesh.visual.vertex_colors = surface_colors(mesh, density, color, 2.0 * radius / settings.resolution, device)
    mesh.metadata["threshold"] = float(threshold)
    return mesh


def _finish(mesh: trimesh.Trimesh, settings: MeshSettings) -> trimesh.Trimesh:
    mesh = drop_floaters(mesh, settings.floater_fraction)
    if settings.taubin_iterations:
        # lamb and nu nearly equal: smooths voxel steps away while the volume stays.
        filter_taubin(mesh, lamb=0.5, nu=0.52, iterations=settings.taubin_iterations)
    return simplify(mesh, settings.max_triangles)
