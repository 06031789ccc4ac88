"""Rays against one mesh."""

from dataclasses import dataclass

import numpy as np
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene


@dataclass(frozen=True, eq=False)
class Met:
    """What N rays met first."""

    face: np.ndarray  # [N], -1 for nothing
    weights: np.ndarray  # [N, 3], barycentric
    distance: np.ndarray  # [N] float32, in bounding box diagonals


class UnitScene:
    """A mesh for embree, which counts in float32: moved to the origin, its bounding box's diagonal scaled to 1."""

    def __init__(self, mesh: trimesh.Trimesh) -> None:
        self._middle, self._scale = mesh.bounds.mean(axis=0), 1.0 / mesh.scale
        self._scene = EmbreeScene()
        TriangleMesh(
            scene=self._scene,
            vertices=self.place(mesh.vertices.view(np.ndarray)),
            indices=mesh.faces.view(np.ndarray).astype(np.int32),
        )

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 3] in the scene's own coordinates, float32."""
        return ((points - self._middle) * self._scale).astype(np.float32)

    def free(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Which rays, float32 [N, 3] each, meet nothing: bool [N]."""
        return self._scene.run(origins, directions, query="OCCLUDED") < 0

    def first(self, origins: np.ndarray, directions: np.ndarray, limit: np.ndarray) -> Met:
        """What rays, float32 [N, 3] each, of unit direction, meet within their limit, float32 [N]."""
        found = self._scene.run(origins, directions, dists=limit, output=1)
        u, v = found["u"].astype(np.float64), found["v"].astype(np.float64)
        return Met(found["primID"].astype(np.int64), np.stack([1.0 - u - v, u, v], axis=1), found["tfar"])
