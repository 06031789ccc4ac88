"""Vertex colours from a field, and the two encodings of colour."""

import numpy as np
import torch
import trimesh

from dreamdist3d.mesh.sampling import PointFunction, evaluate_points

# Half a voxel outside the vertex to five inside, in steps of half a voxel.
_DEPTHS = np.arange(-0.5, 5.01, 0.5)


def surface_colors(
    mesh: trimesh.Trimesh,
    density: PointFunction,
    color: PointFunction,
    voxel: float,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """What a viewer sees of the field at each vertex: uint8 [V, 3], sRGB.

    A short volume rendering along the inward normal: where the field is hard, its colour just under
    the surface; where it is soft, the same blend of depths that its own renders show. One read at a
    fixed depth would return the colour of the fog around soft objects.
    """
    points = mesh.vertices[:, None] - mesh.vertex_normals[:, None] * (_DEPTHS * voxel)[:, None]  # [V, S, 3]
    flat = points.reshape(-1, 3)
    opacity = 1.0 - np.exp(-0.5 * voxel * evaluate_points(density, flat, device).reshape(points.shape[:2]))
    transmittance = np.cumprod(1.0 - opacity, axis=1) / np.maximum(1.0 - opacity, 1e-12)
    weights = opacity * transmittance + 1e-6  # where a vertex floats free of all density, the plain mean
    rgb = evaluate_points(color, flat, device).reshape(points.shape)
    seen = (weights[..., None] * rgb).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    return np.round(255.0 * np.clip(seen, 0.0, 1.0)).astype(np.uint8)


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] -> linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] -> sRGB in [0, 1] (IEC 61966-2-1)."""
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 0.0) ** (1 / 2.4) - 0.055)
