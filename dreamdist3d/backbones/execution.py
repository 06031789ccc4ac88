"""A backbone that computes the same in less time or less GPU memory; both change it in place."""

import torch

from dreamdist3d.backbones.backbone import Backbone


def compile_unet(backbone: Backbone, backend: str = "inductor") -> Backbone:
    """Compile the UNet's calls, once for each batch size and picture size; returns the backbone.

    The module stays itself, configuration and weights included. Pays off over hundreds of calls.
    """
    backbone.unet.compile(backend=backend, dynamic=False)
    return backbone


def release_text_encoder(backbone: Backbone) -> None:
    """Move the text encoder off the GPU once all prompts are encoded; it still works, on the CPU."""
    backbone.text_encoder.to("cpu")
    if backbone.device.type == "cuda":
        torch.cuda.empty_cache()
