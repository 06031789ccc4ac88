"""How different the shapes of the assets are, by points on their surfaces."""

from collections.abc import Sequence

import numpy as np
import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor

from dreamdist3d.eval.diversity.extent import framed_vertices

POINTS = 2048
_SEED = 0  # the same points of the same mesh, always


def chamfer_distances(meshes: Sequence[trimesh.Trimesh], points: int = POINTS) -> Tensor:
    r"""Chamfer distance of every two meshes: float64 [A, A], 0 or more, in radii of the bounding sphere.

    .. math:: d(P, Q) = \frac{1}{2} \left( \frac{1}{|P|} \sum_{p} \min_q \lVert p - q \rVert
              + \frac{1}{|Q|} \sum_{q} \min_p \lVert q - p \rVert \right)

    P and Q are points spread evenly over the surfaces, always the same ones of a mesh, after each mesh was centred
    on its bounding box and scaled to a bounding sphere of radius 1. Meshes are not turned: their fronts face the
    same way. Two different triangulations of one shape do not come out at 0 but at the points' mean spacing, about
    0.02 for the default number on a sphere. Source: Fan et al., "A point set generation network", CVPR 2017, with
    unsquared distances.

    Raises:
        ValueError: a mesh without area.

    Example:
        >>> ball = trimesh.creation.icosphere()
        >>> chamfer_distances([ball, ball.copy()]).tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """
    clouds = [surface_points(mesh, points) for mesh in meshes]
    trees = [cKDTree(cloud) for cloud in clouds]
    matrix = torch.zeros(len(clouds), len(clouds), dtype=torch.float64)
    for i in range(len(clouds)):
        for j in range(i):
            there = trees[j].query(clouds[i])[0].mean()
            back = trees[i].query(clouds[j])[0].mean()
            matrix[i, j] = matrix[j, i] = (there + back) / 2
    return matrix


def surface_points(mesh: trimesh.Trimesh, count: int) -> np.ndarray:
    """Points evenly spread at random over a framed mesh's surface, the same at every call: [count, 3].

    Raises:
        ValueError: a mesh without area.

    Example:
        >>> surface_points(trimesh.creation.box(), 5).shape
        (5, 3)
    """
    framed = trimesh.Trimesh(framed_vertices(mesh), mesh.faces, process=False)
    if not framed.area > 0:
        raise ValueError("a mesh without area has no surface to sample")
    return trimesh.sample.sample_surface(framed, count, seed=_SEED)[0]
