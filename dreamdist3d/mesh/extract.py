"""The road from a field to a mesh."""

import torch
import trimesh
from trimesh.smoothing import filter_taubin

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.colors import color_vertices, surface_colors
from dreamdist3d.mesh.repair import repair
from dreamdist3d.mesh.sampling import PointFunction, sample_grid, sample_near_surface
from dreamdist3d.mesh.settings import MeshSettings
from dreamdist3d.mesh.silhouettes import Silhouettes
from dreamdist3d.mesh.simplify import simplify
from dreamdist3d.mesh.surface import closed_surface, drop_floaters
from dreamdist3d.mesh.threshold import choose_threshold

_DEFAULTS = MeshSettings()


def extract_mesh(
    density: PointFunction,
    look: PointFunction,
    radius: float,
    settings: MeshSettings = _DEFAULTS,
    silhouettes: Silhouettes | None = None,
    device: torch.device | str = "cpu",
) -> trimesh.Trimesh:
    """The field's surface within the triangle budget, with vertex colours.

    Args:
        look: [N, 3] world points -> [N, 4], density per world unit and sRGB in [0, 1].

    The other arguments, and what is raised, are those of `extract_surface`.

    Returns:
        Like that of `extract_surface`, simplified, with sRGB uint8 vertex colours.
    """
    surface = extract_surface(density, radius, settings, silhouettes, device)
    mesh = simplify(surface, settings.max_triangles)
    color_vertices(mesh, surface_colors(mesh, look, 2.0 * radius / settings.resolution, device))
    mesh.metadata |= surface.metadata
    return mesh


def extract_surface(
    density: PointFunction,
    radius: float,
    settings: MeshSettings = _DEFAULTS,
    silhouettes: Silhouettes | None = None,
    device: torch.device | str = "cpu",
    detail: int | None = None,
) -> trimesh.Trimesh:
    """The field's surface inside the cube [-radius, radius]^3 at full density, in world axes (z up, front +x).

    Args:
        density: [N, 3] world points -> [N] densities per world unit, >= 0.
        radius: half the edge of the cube, world units.
        settings: grid, smoothing, floaters; `max_triangles` is not heeded here.
        silhouettes: the field's own opacities, by which the density threshold is chosen;
            without them it is `settings.threshold`.
        device: where `density` takes its points.
        detail: the finest structures that the field can hold, as a share of the cube's edge: 1 / detail. Where the
            grid is at least twice as fine, only the neighbourhood of the surface is asked for in full.

    Returns:
        A closed mesh with outward normals; `metadata["threshold"]` is the density it was taken at.

    Raises:
        UserError: the field is empty or holds values that are not finite.
    """
    threshold = settings.threshold
    if silhouettes is not None:
        threshold = choose_threshold(density, radius, settings, silhouettes, device)
    if detail is not None and 2 * detail <= settings.resolution:
        grid = sample_near_surface(density, radius, settings.resolution, threshold, device)
    else:
        grid = sample_grid(density, radius, settings.resolution, device)
    mesh = closed_surface(grid, radius, threshold, settings.smooth_voxels, settings.seal_fraction)
    if not len(mesh.faces):
        raise UserError(
            f"the asset is empty: no density above {threshold:g} (highest {grid.max():.3g}); "
            "lift it again with another seed or more steps, or lower the mesh threshold."
        )
    mesh = repair(drop_floaters(mesh, settings.floater_fraction))
    if settings.taubin_iterations:
        # lamb and nu nearly equal: smooths voxel steps away while the volume stays.
        filter_taubin(mesh, lamb=0.5, nu=0.52, iterations=settings.taubin_iterations)
    mesh.metadata["threshold"] = float(threshold)
    return mesh
