"""Self-attention joint over the views of one object: what makes a Stable Diffusion UNet multi-view."""

import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor


class JointViewAttention:
    """Attention processor that folds n views into one sequence for self-attention (MVDream, section 3.2).

    The batch holds the views of one object side by side: [B * n_views, tokens, channels]. Cross-attention
    and n_views = 1 are plain scaled dot-product attention. A call may name another number of views than
    the default through `cross_attention_kwargs={"n_views": n}`.
    """

    def __init__(self, n_views: int = 4) -> None:
        self.n_views = n_views

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,  # [B, tokens, channels]
        encoder_hidden_states: Tensor | None = None,  # [B, L, D]
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        n_views: int | None = None,
    ) -> Tensor:
        batch, tokens, _ = hidden_states.shape
        if encoder_hidden_states is None:
            views = n_views or self.n_views
            hidden_states = hidden_states.reshape(batch // views, views * tokens, -1)
            encoder_hidden_states = hidden_states
        query, key, value = (
            projected.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projected in (
                attn.to_q(hidden_states),
                attn.to_k(encoder_hidden_states),
                attn.to_v(encoder_hidden_states),
            )
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        mixed = mixed.transpose(1, 2).reshape(batch, tokens, -1)
        return attn.to_out[1](attn.to_out[0](mixed))


def install_joint_attention(unet: UNet2DConditionModel, n_views: int) -> UNet2DConditionModel:
    """Make every attention layer of `unet` view-aware, in place; returns it."""
    unet.set_attn_processor(JointViewAttention(n_views))
    return unet
