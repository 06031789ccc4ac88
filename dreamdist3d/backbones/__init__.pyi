from .backbone import (
    Backbone as Backbone,
    add_noise as add_noise,
    diffusion_target as diffusion_target,
    predicted_noise as predicted_noise,
    predicted_x0 as predicted_x0,
)
from .convert import convert_checkpoint as convert_checkpoint, convert_mvdream_unet as convert_mvdream_unet
from .execution import compile_unet as compile_unet, release_text_encoder as release_text_encoder
from .identity import (
    Fingerprinted as Fingerprinted,
    TextSide as TextSide,
    fingerprint_of as fingerprint_of,
    has_fingerprint as has_fingerprint,
    is_earlier as is_earlier,
    shortened as shortened,
)
from .joint_attention import (
    JointViewAttention as JointViewAttention,
    install_joint_attention as install_joint_attention,
)
from .load import load_backbone as load_backbone
from .precision import resolve_precision as resolve_precision, set_precision as set_precision
from .reference_attention import (
    install_reference_attention as install_reference_attention,
    scale_references as scale_references,
)
from .references import see_references as see_references
from .sampling import (
    denoise as denoise,
    latent_shape as latent_shape,
    sample_images as sample_images,
    sample_latents as sample_latents,
)
