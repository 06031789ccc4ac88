"""What an apprentice sees of a picture: patches of numbers that a frozen model makes of it."""

from typing import TYPE_CHECKING, Protocol

import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.errors import UserError

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

PATCHES_A_SIDE = 4


class Inputs(Protocol):
    """Pictures to patches. `name` is written into files: an apprentice sees at use what it saw in training."""

    name: str

    def __call__(
        self,
        pixels: Tensor,  # [N, 3, S, S] in [-1, 1]
        latents: Tensor,  # [N, c, h, w], of the same pictures
    ) -> Tensor:
        """[N, P, F], float32 on the latents' device."""


class LatentPatches:
    """The backbone's own latents, cut into 4 x 4 patches: free, and enough where objects fill the picture."""

    name = "latents"

    def __call__(self, pixels: Tensor | None, latents: Tensor) -> Tensor:
        """[N, 16, c h w / 16]."""
        return patches_of(latents)


def patches_of(latents: Tensor) -> Tensor:
    """[N, c, h, w] cut into 4 x 4 patches: [N, 16, c h w / 16]."""
    height, width = latents.shape[-2:]
    if height % PATCHES_A_SIDE or width % PATCHES_A_SIDE:
        raise UserError(
            f"latents of {height} x {width} cannot be cut into {PATCHES_A_SIDE} x {PATCHES_A_SIDE} patches."
        )
    size = height // PATCHES_A_SIDE, width // PATCHES_A_SIDE
    return F.unfold(latents, size, stride=size).mT


def load_inputs(name: str, backbone: "Backbone") -> Inputs:
    """What a file says its apprentice sees.

    Args:
        name: "latents", or a full-size pair of encoders (`full_inputs`).

    Raises:
        UserError: an unknown name, or weights that are missing.
    """
    if name == LatentPatches.name:
        return LatentPatches()
    from dreamdist3d.apprentice.full_inputs import load_full_inputs

    return load_full_inputs(name, backbone)
