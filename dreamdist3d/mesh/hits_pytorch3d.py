"""The same question put to pytorch3d's rasteriser."""

import numpy as np
import torch
import trimesh
from pytorch3d.renderer import FoVPerspectiveCameras, MeshRasterizer, RasterizationSettings
from pytorch3d.structures import Meshes

from dreamdist3d.lift.cameras import Cameras
from dreamdist3d.mesh.view_matrices import view_matrices

_NEAR, _FAR = 0.01, 100.0


def rasterize(mesh: trimesh.Trimesh, cameras: Cameras, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, triangles and weights as `hits.Hits` has them, from the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rotation, translation = (matrix.float() for matrix in view_matrices(cameras))
    views = FoVPerspectiveCameras(
        R=rotation, T=translation, fov=cameras.fov_deg.float(), znear=_NEAR, zfar=_FAR, device=device
    )
    settings = RasterizationSettings(image_size=size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=True)
    one = Meshes(
        [torch.tensor(mesh.vertices, dtype=torch.float32, device=device)],
        [torch.tensor(mesh.faces, dtype=torch.int64, device=device)],
    )
    count = len(rotation)
    fragments = MeshRasterizer(views, settings)(one.extend(count))
    face = fragments.pix_to_face[..., 0].reshape(-1).cpu().numpy()  # into the B meshes laid end to end; -1: none
    pixel = np.nonzero(face >= 0)[0]
    weights = fragments.bary_coords[..., 0, :].reshape(-1, 3).cpu().numpy()[pixel]
    return pixel, face[pixel] % len(mesh.faces), weights.clip(0.0, 1.0).astype(np.float64)
