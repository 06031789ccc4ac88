"""Self-attention joint over the views of one object: what makes a Stable Diffusion UNet multi-view."""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import Attention

# Options of diffusers' `Attention` that no Stable Diffusion UNet uses, with the value that means "unused".
_UNUSED = {
    "added_kv_proj_dim": None,
    "fused_projections": False,
    "group_norm": None,
    "norm_cross": None,
    "norm_k": None,
    "norm_q": None,
    "rescale_output_factor": 1.0,
    "residual_connection": False,
    "scale_qk": True,
    "spatial_norm": None,
}


class JointViewAttention:
    """Attention processor that folds n views into one sequence for self-attention (MVDream, section 3.2).

    The batch holds the views of one object side by side: [B * n_views, tokens, channels]. Cross-attention
    and n_views = 1 are plain scaled dot-product attention. A call may name another number of views than
    the default through `cross_attention_kwargs={"n_views": n}`.

    `upcast_attention`, which some Stable Diffusion 2.1 repositories set, needs no code of its own: scaled
    dot-product attention keeps half-precision scores and their softmax in float32.
    """

    def __init__(self, n_views: int = 4) -> None:
        self.n_views = n_views

    def __call__(
        self,
        attn: "Attention",
        hidden_states: Tensor,  # [B, tokens, channels]
        encoder_hidden_states: Tensor | None = None,  # [B, L, D]
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        n_views: int | None = None,
    ) -> Tensor:
        if attention_mask is not None:
            raise ValueError("joint-view attention takes no mask: Stable Diffusion attends to every text position")
        batch, tokens, _ = hidden_states.shape
        if encoder_hidden_states is None:
            # Neighbours in memory become one sequence: a view of the same storage, no copy.
            hidden_states = hidden_states.unflatten(0, (-1, n_views or self.n_views)).flatten(1, 2)
            encoder_hidden_states = hidden_states
        query, key, value = (
            projected.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projected in (
                attn.to_q(hidden_states),
                attn.to_k(encoder_hidden_states),
                attn.to_v(encoder_hidden_states),
            )
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(1, 2).reshape(batch, tokens, -1)
        return attn.to_out[1](attn.to_out[0](mixed))


def install_joint_attention(unet: "UNet2DConditionModel", n_views: int) -> "UNet2DConditionModel":
    """Make every attention layer of `unet` view-aware, in place; returns it.

    Raises:
        ValueError: a layer has an option that `JointViewAttention` does not know, by name.
    """
    from diffusers.models.attention_processor import Attention

    for name, layer in unet.named_modules():
        if isinstance(layer, Attention):
            _check_plain(name, layer)
    unet.set_attn_processor(JointViewAttention(n_views))
    return unet


def _check_plain(name: str, layer: "Attention") -> None:
    odd = [option for option, unused in _UNUSED.items() if getattr(layer, option, unused) != unused]
    if odd:
        raise ValueError(f"attention layer {name} uses {', '.join(odd)}, which no Stable Diffusion UNet does")
