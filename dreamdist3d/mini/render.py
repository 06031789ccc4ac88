"""Ray-cast pictures of coloured meshes: Lambert light fixed in the world, alpha kept apart."""

import numpy as np
import torch
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from dreamdist3d.lift.cameras import CameraRanges, Cameras, rays

IMAGE_SIZE = 64
SUPERSAMPLE = 2
# One field of view and one distance for data and lift alike: MVDream's camera condition holds
# neither, and a small network should not have to guess the object's scale.
MINI_CAMERAS = CameraRanges(elevation_deg=(0.0, 30.0), fov_deg=(40.0, 40.0), distance=(0.565, 0.565))

_AMBIENT = 0.62
_LIGHTS = (((0.5, -0.6, 0.8), 0.34), ((0.6, 0.7, 0.1), 0.10))  # direction, strength


def render(mesh: trimesh.Trimesh, cameras: Cameras, size: int = IMAGE_SIZE) -> np.ndarray:
    """Render a mesh with face colours.

    Returns uint8 [B, size, size, 4]: straight (not premultiplied) RGB and the coverage as alpha.
    """
    fine = size * SUPERSAMPLE
    origins, directions = (x.reshape(-1, 3).double().numpy() for x in rays(cameras, fine, fine))
    hit = RayMeshIntersector(mesh).intersects_first(origins, directions)
    shaded = _shade(mesh)
    rgba = np.zeros((len(hit), 4), dtype=np.float32)
    rgba[hit >= 0, :3] = shaded[hit[hit >= 0]]
    rgba[hit >= 0, 3] = 1.0
    blocks = rgba.reshape(len(cameras.c2w), size, SUPERSAMPLE, size, SUPERSAMPLE, 4)
    mean = blocks.mean(axis=(2, 4))
    alpha = mean[..., 3:]
    mean[..., :3] = np.divide(mean[..., :3], alpha, out=np.zeros_like(mean[..., :3]), where=alpha > 0)
    return np.round(255 * mean).astype(np.uint8)


def composite(rgba: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """uint8 [..., H, W, 4] over colours [..., 3] in [0, 1] -> float [..., 3, H, W] in [-1, 1]."""
    values = rgba.float() / 255.0
    alpha = values[..., 3:]
    rgb = values[..., :3] * alpha + background[..., None, None, :] * (1.0 - alpha)
    return rgb.movedim(-1, -3) * 2.0 - 1.0


def random_backgrounds(count: int, generator: torch.Generator) -> torch.Tensor:
    """[count, 3] plain colours: a third white, a third gray levels, a third anything."""
    color = torch.rand(count, 3, generator=generator)
    gray = torch.rand(count, 1, generator=generator).expand(count, 3)
    kind = torch.randint(0, 3, (count, 1), generator=generator)
    return torch.where(kind == 0, torch.ones(count, 3), torch.where(kind == 1, gray, color))


def _shade(mesh: trimesh.Trimesh) -> np.ndarray:
    light = np.full(len(mesh.faces), _AMBIENT)
    for direction, strength in _LIGHTS:
        unit = np.asarray(direction) / np.linalg.norm(direction)
        light += strength * np.clip(mesh.face_normals @ unit, 0.0, None)
    color = mesh.visual.face_colors[:, :3] / 255.0
    return np.clip(color * light[:, None], 0.0, 1.0).astype(np.float32)
