"""Our cameras in pytorch3d's convention."""

import torch
from torch import Tensor

from dreamdist3d.lift.cameras import Cameras


def view_matrices(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """R [B, 3, 3] and T [B, 3] such that x_view = x_world R + T, with x_view left, up and forward.

    The rows multiply from the left (https://pytorch3d.org/docs/cameras), so R's columns are the view's axes.
    """
    right, up, back = cameras.c2w[:, :3, :3].unbind(dim=-1)
    rotation = torch.stack([-right, up, -back], dim=-1)
    return rotation, -torch.einsum("bi,bij->bj", cameras.c2w[:, :3, 3], rotation)
