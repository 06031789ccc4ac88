"""The closed surface of a density grid at a threshold."""

import numpy as np
import trimesh
from scipy.ndimage import binary_dilation, gaussian_filter, label
from skimage.measure import marching_cubes

from dreamdist3d.mesh.components import component_labels, signed_volumes

_BORDER = 2


def closed_surface(
    grid: np.ndarray,  # [R, R, R], densities at voxel centres, finite, >= 0
    radius: float,
    threshold: float,
    smooth_voxels: float,
    seal_fraction: float = 0.0,
) -> trimesh.Trimesh:
    """The surface where the density crosses `threshold`: watertight, outward normals, no inner shells.

    Hollows behind openings narrower than `seal_fraction` of the cube's edge count as inner shells too. A
    grid that is solid up to its border gives the cube's own box; one with nothing above the threshold
    gives a mesh without faces.
    """
    occupancy = _occupancy(grid, threshold, smooth_voxels, seal_fraction)
    if not (occupancy > 0.5).any():
        return trimesh.Trimesh()
    voxel = 2.0 * radius / len(grid)
    vertices, faces, _, _ = marching_cubes(occupancy, 0.5, spacing=(voxel,) * 3, allow_degenerate=False)
    # Unprocessed: welding vertices that are merely close would join surfaces that only pass each other.
    mesh = trimesh.Trimesh(vertices + (0.5 - _BORDER) * voxel - radius, faces, process=False)
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def drop_floaters(mesh: trimesh.Trimesh, fraction: float) -> trimesh.Trimesh:
    """Keep the connected parts with at least `fraction` of the largest part's volume."""
    labels = component_labels(mesh)
    volumes = np.abs(signed_volumes(mesh, labels))
    kept = volumes >= fraction * volumes.max()
    kept_part: trimesh.Trimesh | list[trimesh.Trimesh] = mesh.submesh([kept[labels].nonzero()[0]], append=True)
    assert isinstance(kept_part, trimesh.Trimesh)
    return kept_part


def _occupancy(grid: np.ndarray, threshold: float, smooth_voxels: float, seal_fraction: float) -> np.ndarray:
    """[R+4, R+4, R+4] in [0, 1), empty at the border; 0.5 is the surface.

    d / (d + threshold) puts a jump from empty to very dense halfway between two voxels, where a
    threshold on raw densities, or their Gaussian, would sit a voxel too far out.
    """
    occupancy = np.pad(grid / (grid + threshold), _BORDER)
    if smooth_voxels > 0:
        occupancy = gaussian_filter(occupancy, smooth_voxels, mode="constant")
    solid = occupancy > 0.5
    # Fields are often hollow where no ray ever reaches; an inner shell is triangles nobody sees.
    occupancy[_filled(solid, round(seal_fraction * len(grid) / 2)) & ~solid] = 1.0
    return occupancy


def _filled(solid: np.ndarray, reach: int) -> np.ndarray:
    """With its cavities, also those that leak through openings up to 2 `reach` voxels wide."""
    if reach:
        thick = binary_dilation(np.pad(solid, reach), iterations=reach)
        middle = slice(reach, -reach)
        core = (_without_cavities(thick) & ~thick)[middle, middle, middle]
        solid = solid | binary_dilation(core, iterations=reach, mask=~solid)
    return _without_cavities(solid)


def _without_cavities(solid: np.ndarray) -> np.ndarray:
    """As scipy's binary_fill_holes, four times as fast; the border must be empty."""
    return label(~solid)[0] != 1  # the first label is that of the first voxel, a corner
