"""What a lift shows its guidance."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamdist3d.lift.cameras import Cameras


@dataclass(frozen=True)
class Renders:
    """Pictures of one asset in one step, and what a guidance needs to judge them."""

    rgb: Tensor  # [B, 3, H, W], [0, 1]
    cameras: Cameras  # B
    progress: float  # share of the lift behind it, [0, 1]
    generator: torch.Generator  # on the CPU, the step's own
    background: Tensor  # [3], [0, 1]
