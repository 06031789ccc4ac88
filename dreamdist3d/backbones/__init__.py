"""Where diffusion weights come from, as one frozen `Backbone`."""

from dreamdist3d.backbones.backbone import (
    Backbone,
    add_noise,
    diffusion_target,
    fingerprint_of,
    predicted_noise,
    predicted_x0,
)
from dreamdist3d.backbones.joint_attention import JointViewAttention, install_joint_attention
from dreamdist3d.backbones.load import load_backbone
from dreamdist3d.backbones.sampling import latent_shape, sample_images

__all__ = [
    "Backbone",
    "JointViewAttention",
    "add_noise",
    "diffusion_target",
    "fingerprint_of",
    "install_joint_attention",
    "latent_shape",
    "load_backbone",
    "predicted_noise",
    "predicted_x0",
    "sample_images",
]
