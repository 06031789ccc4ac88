"""A field's own rendered opacities, and how well a mesh's outline agrees with them."""

from dataclasses import dataclass

import numpy as np
import trimesh
from torch import Tensor
from trimesh.ray.ray_pyembree import RayMeshIntersector

from dreamdist3d.lift.cameras import Cameras, rays


@dataclass(frozen=True)
class Silhouettes:
    """What B cameras saw of the field."""

    cameras: Cameras
    alpha: Tensor  # [B, H, W] in [0, 1]

    def __post_init__(self) -> None:
        if self.alpha.ndim != 3 or len(self.alpha) != len(self.cameras.c2w):
            raise ValueError(
                f"alpha must be [B, H, W] for {len(self.cameras.c2w)} cameras, not {list(self.alpha.shape)}"
            )


def silhouette_agreement(mesh: trimesh.Trimesh, silhouettes: Silhouettes) -> float:
    """Mean over the views of the intersection over union of the mesh's outline and alpha > 0.5, in [0, 1].

    A view in which both are blank counts as full agreement.
    """
    expected = (silhouettes.alpha > 0.5).cpu().numpy()  # [B, H, W]
    outline = ray_cast_outlines(mesh, silhouettes.cameras, *expected.shape[1:])
    both = (outline & expected).sum(axis=(1, 2))
    either = (outline | expected).sum(axis=(1, 2))
    return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean())


def ray_cast_outlines(mesh: trimesh.Trimesh, cameras: Cameras, height: int, width: int) -> np.ndarray:
    """Which pixels' centre rays hit the mesh: bool [B, height, width]."""
    shape = (len(cameras.c2w), height, width)
    if not len(mesh.faces):
        return np.zeros(shape, dtype=bool)
    origins, directions = (x.reshape(-1, 3).double().numpy() for x in rays(cameras.to("cpu"), height, width))
    return RayMeshIntersector(mesh).intersects_any(origins, directions).reshape(shape)
