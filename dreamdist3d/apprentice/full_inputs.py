"""What an apprentice of a full-size backbone sees: DINOv2 for where things are, CLIP for what they are, both frozen."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.eval.features.catalogue import load_encoders
from dreamdist3d.eval.features.clip import ClipEncoder
from dreamdist3d.eval.features.timm_vit import TimmEncoder

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

SIDE = 8  # DINOv2's 37 x 37 places at 518 pixels, averaged: 64 patches, an eighth of a megabyte a picture


class DinoAndClip:
    """64 patches of DINOv2, each beside the picture's CLIP feature."""

    def __init__(self, dino: TimmEncoder, clip: ClipEncoder, device: torch.device) -> None:
        self._dino, self._clip, self._device = dino, clip, device
        self.name = f"{dino.model_id}+{clip.model_id}"

    def __call__(self, pixels: Tensor, latents: Tensor) -> Tensor:
        """[N, 64, D + E]; CLIP's unit vectors are scaled to a deviation of 1, which DINOv2's tokens have."""
        shown = (pixels / 2 + 0.5).clamp(0, 1).cpu()
        patches, whole = self._dino.patches(shown, SIDE), self._clip.encode(shown)
        whole = whole * whole.shape[1] ** 0.5
        return torch.cat([patches, whole[:, None].expand(-1, patches.shape[1], -1)], dim=2).to(self._device)


def load_full_inputs(name: str, backbone: "Backbone") -> DinoAndClip:
    """Two encoders by the names that `evaluate --features` takes.

    Args:
        name: such as "dinov2+clip_vitl14", each with =PATH for weights on this disk; or what a file recorded.

    Raises:
        UserError: not a DINOv2 and a CLIP, or their weights are missing.
    """
    names = [_published(part) for part in name.split("+")]
    encoders = load_encoders(names) if len(names) == 2 else []
    dino = next((one for one in encoders if isinstance(one, TimmEncoder)), None)
    clip = next((one for one in encoders if isinstance(one, ClipEncoder)), None)
    if dino is None or clip is None:
        raise UserError(f"inputs {name!r} are unknown: give latents, or a DINOv2 and a CLIP as dinov2+clip_vitl14.")
    made = DinoAndClip(dino, clip, backbone.device)
    if "@" in name and made.name != name:
        raise UserError(f"the apprentice sees by {name}, but here are {made.name}: get the same weights.")
    return made


def _published(part: str) -> str:
    """The key of a recorded model id, and other names as they are."""
    from dreamdist3d.eval.features.catalogue import PUBLISHED

    if "@" not in part:
        return part
    architecture = part.split("@")[0]
    return next((key for key, model in PUBLISHED.items() if model.architecture == architecture), part)
