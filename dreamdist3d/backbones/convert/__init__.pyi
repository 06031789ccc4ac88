from .checkpoint import parts_of_checkpoint as parts_of_checkpoint
from .folder import parts_of_mvdream_folder as parts_of_mvdream_folder
from .unet import convert_mvdream_unet as convert_mvdream_unet
from .write import convert_checkpoint as convert_checkpoint
