"""Where diffusion weights come from, as one frozen `Backbone`.

Imports nothing heavy by itself: the catalogue of weights is read without torch.
"""

import importlib

_EXPORTS = {
    "Backbone": "backbone",
    "JointViewAttention": "joint_attention",
    "Precision": "precision",
    "add_noise": "backbone",
    "compile_unet": "execution",
    "convert_checkpoint": "convert",
    "convert_mvdream_unet": "convert",
    "diffusion_target": "backbone",
    "fingerprint_of": "backbone",
    "install_joint_attention": "joint_attention",
    "latent_shape": "sampling",
    "load_backbone": "load",
    "predicted_noise": "backbone",
    "predicted_x0": "backbone",
    "release_text_encoder": "execution",
    "resolve_precision": "precision",
    "sample_images": "sampling",
    "set_precision": "precision",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
