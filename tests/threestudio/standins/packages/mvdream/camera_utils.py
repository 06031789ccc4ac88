"""Poses as MVDream takes them."""

import torch
from torch import Tensor


def convert_opengl_to_blender(camera: Tensor) -> Tensor:
    """Imported, not called."""
    raise NotImplementedError


def normalize_camera(camera: Tensor) -> Tensor:
    """[B, 4, 4], translations of unit length."""
    unit = camera.clone()
    unit[:, :3, 3] = torch.nn.functional.normalize(camera[:, :3, 3], dim=-1)
    return unit
