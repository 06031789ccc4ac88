"""Original checkpoints (MVDream, Stable Diffusion 1.x and 2.x) as stock diffusers parts."""

from dreamdist3d.backbones.convert.checkpoint import parts_of_checkpoint
from dreamdist3d.backbones.convert.folder import is_mvdream_folder, parts_of_mvdream_folder
from dreamdist3d.backbones.convert.unet import convert_mvdream_unet
from dreamdist3d.backbones.convert.write import convert_checkpoint

__all__ = [
    "convert_checkpoint",
    "convert_mvdream_unet",
    "is_mvdream_folder",
    "parts_of_checkpoint",
    "parts_of_mvdream_folder",
]
