"""Ray-cast pictures of coloured meshes: light fixed in the world, alpha kept apart."""

from typing import Any

import numpy as np
import torch
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from dreamdist3d.lift.cameras import CameraRanges, Cameras, rays
from dreamdist3d.mini.surface import Paint, Surface

IMAGE_SIZE = 64
SUPERSAMPLE = 2
# One field of view and one distance for data and lift alike: MVDream's camera condition holds
# neither, and a small network should not have to guess the object's scale.
MINI_CAMERAS = CameraRanges(elevation_deg=(0.0, 30.0), fov_deg=(40.0, 40.0), distance=(0.565, 0.565))


def render(
    mesh: trimesh.Trimesh, cameras: Cameras, size: int = IMAGE_SIZE, surface: Surface | None = None
) -> np.ndarray:
    """Render a mesh with its paint, or, without one, matt in the colours of its faces.

    Returns uint8 [B, size, size, 4]: straight (not premultiplied) RGB and the coverage as alpha.
    """
    fine = size * SUPERSAMPLE
    origins, directions = (x.reshape(-1, 3).double().numpy() for x in rays(cameras, fine, fine))
    hit = RayMeshIntersector(mesh).intersects_first(origins, directions)
    seen = np.flatnonzero(hit >= 0)
    faces = hit[seen]
    normals = mesh.face_normals[faces]
    # Where the ray meets the face's plane: embree's own distances are single precision.
    away = ((mesh.triangles[faces, 0] - origins[seen]) * normals).sum(axis=1)
    depth = away / (directions[seen] * normals).sum(axis=1)
    points = origins[seen] + depth[:, None] * directions[seen]
    rgba = np.zeros((len(hit), 4), dtype=np.float32)
    rgba[seen, :3] = (surface or _flat(mesh)).shade(points, normals, faces)
    rgba[seen, 3] = 1.0
    blocks = rgba.reshape(len(cameras.c2w), size, SUPERSAMPLE, size, SUPERSAMPLE, 4)
    mean = blocks.mean(axis=(2, 4))
    alpha = mean[..., 3:]
    mean[..., :3] = np.divide(mean[..., :3], alpha, out=np.zeros_like(mean[..., :3]), where=alpha > 0)
    return np.round(255 * mean).astype(np.uint8)


def _flat(mesh: trimesh.Trimesh) -> Surface:
    visual: Any = mesh.visual
    colors, paint_of_face = np.unique(visual.face_colors[:, :3], axis=0, return_inverse=True)
    paints = [Paint(tuple(color / 255.0)) for color in colors]
    return Surface(paints, paint_of_face.reshape(-1), np.zeros(3))


def composite(rgba: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """uint8 [..., H, W, 4] over colours [..., 3] or pictures [..., 3, H, W] in [0, 1]: [..., 3, H, W] in [-1, 1]."""
    values = rgba.float() / 255.0
    alpha = values[..., 3:].movedim(-1, -3)
    behind = background if background.ndim == rgba.ndim else background[..., None, None]
    return (values[..., :3].movedim(-1, -3) * alpha + behind * (1.0 - alpha)) * 2.0 - 1.0
