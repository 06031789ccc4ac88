"""Vertex colours from a field, and the two encodings of colour."""

from typing import Any

import numpy as np
import torch
import trimesh

from dreamdist3d.mesh.sampling import PointFunction, evaluate_points

# Half a voxel outside the vertex to five inside, in steps of half a voxel.
_DEPTHS = np.arange(-0.5, 5.01, 0.5)
# Behind an opacity of 1 - 1/512 nothing shows in 8 bits; a share below 1e-6 is numerical dust.
_OPAQUE, _EMPTY = 1.0 / 512.0, 1e-6


def surface_colors(
    mesh: trimesh.Trimesh, look: PointFunction, voxel: float, device: torch.device | str = "cpu"
) -> np.ndarray:
    """What a viewer sees of the field at each vertex: uint8 [V, 3], sRGB.

    A short volume rendering along the inward normal: where the field is hard, its colour just under
    the surface; where it is soft, the same blend of depths that its own renders show. One read at a
    fixed depth would return the colour of the fog around soft objects.

    Args:
        look: [N, 3] world points -> [N, 4], density per world unit and sRGB in [0, 1].
        voxel: edge of the cells that the surface was extracted with, world units.
    """
    seen = seen_colors(mesh.vertices, mesh.vertex_normals, look, voxel, device)
    return np.round(255.0 * seen).astype(np.uint8)


def seen_colors(
    points: np.ndarray,  # [N, 3] on the surface
    normals: np.ndarray,  # [N, 3] unit, outward
    look: PointFunction,
    voxel: float,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """What a viewer sees of the field at each point: [N, 3] sRGB in [0, 1]; see `surface_colors`."""
    mixed, weight, passed = np.zeros((len(points), 3)), np.zeros(len(points)), np.ones(len(points))
    for depth in _DEPTHS:
        rows = (passed > _OPAQUE).nonzero()[0]
        if not len(rows):
            break
        inside = points[rows] - normals[rows] * (depth * voxel)
        found = evaluate_points(look, inside, device)
        share = passed[rows] * (1.0 - np.exp(-0.5 * voxel * found[:, 0]))
        passed[rows] -= share
        share[share <= _EMPTY] = 0.0
        weight[rows] += share
        mixed[rows] += share[:, None] * found[:, 1:]
    lost = weight <= 0
    if lost.any():  # a point that floats free of all density: the plain mean
        mixed[lost], weight[lost] = _mean_color(points[lost], normals[lost], look, voxel, device), 1.0
    return np.clip(mixed / weight[:, None], 0.0, 1.0)


def _mean_color(
    points: np.ndarray, normals: np.ndarray, look: PointFunction, voxel: float, device: torch.device | str
) -> np.ndarray:
    found = [evaluate_points(look, points - normals * (depth * voxel), device) for depth in _DEPTHS]
    return np.mean([values[:, 1:] for values in found], axis=0)


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] -> linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] -> sRGB in [0, 1] (IEC 61966-2-1)."""
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 0.0) ** (1 / 2.4) - 0.055)


def vertex_colors(mesh: trimesh.Trimesh) -> np.ndarray:
    """What a mesh has at its vertices, or is given there by trimesh: uint8 [V, 4], sRGB and opacity."""
    visual: Any = mesh.visual
    return np.asarray(visual.vertex_colors)


def color_vertices(mesh: trimesh.Trimesh, colors: np.ndarray) -> None:
    """Give it uint8 colours [V, 3 or 4] at its vertices, in place of any other paint."""
    mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=colors)
