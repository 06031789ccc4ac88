"""In which precision the parts of a backbone compute.

The UNet, which is most of the work, takes the one that is asked for. The text encoder stays in float32: it
runs once per draw, and the moments of a distribution must not depend on the machine. The autoencoder never
runs in float16, whose largest number, 65,504, its activations and the gradients through it can exceed.
"""

import torch

from dreamdist3d.backbones.backbone import Backbone
from dreamdist3d.choices import Precision
from dreamdist3d.quiet import quiet_loading

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def resolve_precision(precision: Precision, device: str | torch.device) -> torch.dtype:
    """`auto` is bfloat16 on GPUs that compute in it, float16 on older ones, and float32 on the CPU."""
    if precision != "auto":
        return _DTYPES[precision]
    if torch.device(device).type != "cuda":
        return torch.float32
    return torch.bfloat16 if _computes_bfloat16(device) else torch.float16


def set_precision(backbone: Backbone, dtype: torch.dtype) -> Backbone:
    """Cast the UNet to `dtype`, the autoencoder to what is safe beside it, in place; returns the backbone.

    Fingerprint and identity stay: they are of the weights as they were loaded.
    """
    if dtype != torch.float32:
        _ = backbone.identity  # of the weights as they were loaded, which are rounded now
    with quiet_loading():  # diffusers warns of casts, naming no module
        backbone.unet.to(dtype)
        backbone.vae.to(_safe_for_autoencoder(dtype, backbone.device))
    backbone.text_encoder.float()
    backbone.dtype = dtype
    return backbone


def _safe_for_autoencoder(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    if dtype != torch.float16:
        return dtype
    has_range = device.type == "cuda" and _computes_bfloat16(device)
    return torch.bfloat16 if has_range else torch.float32


def _computes_bfloat16(device: str | torch.device) -> bool:
    """Ampere and later; older GPUs only emulate it."""
    return torch.cuda.get_device_capability(device) >= (8, 0)
