"""Pictures of any mesh from the same four sides, framed and lit alike."""

import numpy as np
import torch
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from dreamdist3d.lift.cameras import Cameras, orbit, rays

AZIMUTHS_DEG = (0.0, 90.0, 180.0, 270.0)
VIEW_NAMES = ("front", "left", "back", "right")
ELEVATION_DEG = 15.0
FOV_DEG = 40.0
DISTANCE = 1.55
SUPERSAMPLE = 2

_RADIUS = 0.5
_TO_WORLD = [2, 0, 1]  # glTF (x, y, z) -> world (z, x, y): z up, front +x
# Mostly ambient: features should see shape and colour, not where a lamp stood.
_AMBIENT, _HEADLIGHT = 0.85, 0.15


def render_views(mesh: trimesh.Trimesh, size: int = 128) -> np.ndarray:
    """A mesh in glTF axes (+Y up, front +Z) from its front, left, back and right, on white.

    The mesh is centred on its bounding box and scaled to a bounding sphere of radius 0.5, so that
    neither the size nor the place of an asset tells it from another. Vertex colours (sRGB) are
    interpolated inside the triangles.

    Returns:
        uint8 [4, size, size, 3], in the order of `VIEW_NAMES`.

    Raises:
        ValueError: all vertices lie in one point.
    """
    views = len(AZIMUTHS_DEG)
    cameras = orbit(
        torch.tensor(AZIMUTHS_DEG, dtype=torch.float64),
        torch.full((views,), ELEVATION_DEG, dtype=torch.float64),
        torch.full((views,), DISTANCE, dtype=torch.float64),
        torch.full((views,), FOV_DEG, dtype=torch.float64),
    )
    fine = _trace(_framed(mesh), cameras, size * SUPERSAMPLE)
    blocks = fine.reshape(views, size, SUPERSAMPLE, size, SUPERSAMPLE, 3)
    return np.round(255.0 * blocks.mean(axis=(2, 4))).astype(np.uint8)


def _framed(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    vertices = mesh.vertices[:, _TO_WORLD]
    vertices = vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    reach = np.linalg.norm(vertices, axis=1).max()
    if not reach > 0:
        raise ValueError("a mesh without extent cannot be framed")
    framed = trimesh.Trimesh(vertices * (_RADIUS / reach), mesh.faces, process=False)
    framed.visual.vertex_colors = mesh.visual.vertex_colors
    return framed


def _trace(mesh: trimesh.Trimesh, cameras: Cameras, size: int) -> np.ndarray:
    """[B, size, size, 3] in [0, 1], one ray a pixel."""
    origins, directions = (x.reshape(-1, 3).numpy() for x in rays(cameras, size, size))
    points, ray, triangle = RayMeshIntersector(mesh).intersects_location(origins, directions, multiple_hits=False)
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[triangle], points).clip(0.0, 1.0)
    corners = mesh.visual.vertex_colors[mesh.faces[triangle], :3] / 255.0  # [hits, corner, rgb]
    # The absolute value keeps meshes with inside-out triangles, which other tools write, visible.
    facing = np.abs(np.einsum("ij,ij->i", mesh.face_normals[triangle], directions[ray]))
    color = np.einsum("ic,icj->ij", weights, corners) * (_AMBIENT + _HEADLIGHT * facing)[:, None]
    image = np.ones((len(origins), 3))
    image[ray] = color.clip(0.0, 1.0)
    return image.reshape(len(cameras.c2w), size, size, 3)
