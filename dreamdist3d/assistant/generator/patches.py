"""What the generator sees of the picture given: patches of a frozen encoder that no score is made with.

The paper's are DINOv2's, and so are those of a full-size generator. In the miniature the only DINO is the judge that
self-distillation filters by and `evaluate` scores with: a generator that sees through it would be told the answer. So
it sees what the packaged apprentice sees, the autoencoder's latents in 4 x 4 patches, and what that makes of them.
"""

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from dreamdist3d.apprentice import load_apprentice, packaged_apprentice
from dreamdist3d.apprentice.details import seen_twice
from dreamdist3d.apprentice.inputs import patches_of
from dreamdist3d.errors import UserError

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone
    from dreamdist3d.eval.features.timm_vit import TimmEncoder

SIDE = 16  # DINOv2's 37 x 37 places, averaged to so many a side


class Patches(Protocol):
    """A frozen encoder of places. `name` is written into files: a generator sees at use what it saw in training."""

    name: str
    width: int  # F

    def __call__(self, pictures: Tensor) -> Tensor:
        """[N, 3, H, W] in [0, 1] -> [N, P, F], float32 on the CPU."""


class MiniPatches:
    """Latents in 16 patches, each beside what the packaged apprentice makes of it."""

    name = "apprentice"

    def __init__(self, backbone: "Backbone") -> None:
        self._backbone = backbone
        self._apprentice = load_apprentice(packaged_apprentice(backbone)).apprentice.to(backbone.device)
        self.width = self._apprentice.config.features + self._apprentice.config.width

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """As `Patches`."""
        latents = self._backbone.encode_images(pictures * 2 - 1)
        return seen_twice(self._apprentice, patches_of(latents)[:, None])[:, 0].cpu()


class DinoPatches:
    """DINOv2's, averaged to 16 x 16 places."""

    def __init__(self, encoder: "TimmEncoder") -> None:
        self._encoder = encoder
        self.name = encoder.model_id
        self.width = self(torch.zeros(1, 3, 32, 32)).shape[-1]

    def __call__(self, pictures: Tensor) -> Tensor:
        """As `Patches`."""
        return self._encoder.patches(pictures, SIDE)


def load_patches(name: str, backbone: "Backbone") -> Patches:
    """By the name on a command line or in a generator's file.

    Args:
        name: "apprentice", or a DINOv2 as `evaluate --features` takes it: dinov2, or dinov2=PATH.

    Raises:
        UserError: an unknown name, or weights that are missing.
    """
    if name == MiniPatches.name:
        return MiniPatches(backbone)
    from dreamdist3d.eval.features.catalogue import load_encoders
    from dreamdist3d.eval.features.timm_vit import TimmEncoder

    encoder = load_encoders([name])[0]
    if not isinstance(encoder, TimmEncoder):
        raise UserError(f"patches of {name!r} are unknown: give apprentice, or a DINOv2 such as dinov2=PATH.")
    return DinoPatches(encoder)
