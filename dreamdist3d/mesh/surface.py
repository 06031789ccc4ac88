"""The closed surface of a density grid at a threshold."""

import numpy as np
import trimesh
from scipy.ndimage import binary_fill_holes, gaussian_filter
from skimage.measure import marching_cubes
from trimesh.graph import connected_component_labels

_BORDER = 2


def closed_surface(
    grid: np.ndarray,  # [R, R, R], densities at voxel centres, finite, >= 0
    radius: float,
    threshold: float,
    smooth_voxels: float,
) -> trimesh.Trimesh:
    """The surface where the density crosses `threshold`: watertight, outward normals, no inner shells.

    A grid that is solid up to its border gives the cube's own box; a grid with nothing above the
    threshold gives a mesh without faces.
    """
    occupancy = _occupancy(grid, threshold, smooth_voxels)
    if not (occupancy > 0.5).any():
        return trimesh.Trimesh()
    voxel = 2.0 * radius / len(grid)
    vertices, faces, _, _ = marching_cubes(occupancy, 0.5, spacing=(voxel,) * 3, allow_degenerate=False)
    mesh = trimesh.Trimesh(vertices + (0.5 - _BORDER) * voxel - radius, faces)
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def drop_floaters(mesh: trimesh.Trimesh, fraction: float) -> trimesh.Trimesh:
    """Keep the connected parts with at least `fraction` of the largest part's volume."""
    labels = connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    corners = mesh.triangles  # [F, 3, 3]
    signed = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0
    volumes = np.abs(np.bincount(labels, weights=signed))
    kept = volumes >= fraction * volumes.max()
    return mesh.submesh([kept[labels].nonzero()[0]], append=True)


def _occupancy(grid: np.ndarray, threshold: float, smooth_voxels: float) -> np.ndarray:
    """[R+4, R+4, R+4] in [0, 1), empty at the border; 0.5 is the surface.

    d / (d + threshold) puts a jump from empty to very dense halfway between two voxels, where a
    threshold on raw densities, or their Gaussian, would sit a voxel too far out.
    """
    occupancy = np.pad(grid / (grid + threshold), _BORDER)
    if smooth_voxels > 0:
        occupancy = gaussian_filter(occupancy, smooth_voxels, mode="constant")
    solid = binary_fill_holes(occupancy > 0.5)
    # Fields are often hollow where no ray ever reaches; an inner shell is triangles nobody sees.
    occupancy[solid & (occupancy <= 0.5)] = 1.0
    return occupancy
