"""Pictures beside words in the UNet's cross-attention: decoupled keys and values, as in IP-Adapter (Ye et al. 2023).

A prompt with references is longer than the text encoder's L: [L + T, D], with T tokens of pictures behind the words. So
whatever hands prompts to a backbone (a sampler, a guidance, a lift) hands the references along with them. Zeros are no
references, exactly: their keys and values are zero, and so is what they add.
"""

from typing import TYPE_CHECKING, Any

from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import Attention


class ReferenceAttention(IPAdapterAttnProcessor2_0):
    """Cross-attention to words, and, through keys and values of its own, to what stands behind them."""

    def __init__(self, hidden_size: int, cross_attention_dim: int, words: int) -> None:
        super().__init__(hidden_size, cross_attention_dim)
        self.words = words
        nn.init.zeros_(self.to_v_ip[0].weight)  # as long as nothing is learned, references change nothing

    def __call__(
        self,
        attn: "Attention",
        hidden_states: Tensor,  # [B, tokens, channels]
        encoder_hidden_states: Tensor | None = None,  # [B, L + T, D]
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        n_views: int | None = None,
    ) -> Tensor:
        assert encoder_hidden_states is not None  # it is installed on cross-attention alone
        words, seen = encoder_hidden_states[:, : self.words], encoder_hidden_states[:, self.words :]
        pictures = [seen] if seen.shape[1] else []  # the loop over them is empty where there are none
        return super().__call__(attn, hidden_states, (words, pictures), attention_mask, temb)


def install_reference_attention(
    unet: "UNet2DConditionModel",
    words: int,  # L, of the text encoder
) -> nn.ModuleList:
    """Let the cross-attention of `unet` see references, in place; its new layers, which at first add nothing."""
    processors: dict[str, Any] = dict(unet.attn_processors)
    weight = next(unet.parameters())
    layers = []
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            made = ReferenceAttention(module.inner_dim, module.cross_attention_dim, words)
            layers.append(made.to(weight.device, weight.dtype).requires_grad_(False))
            processors[f"{name}.processor"] = layers[-1]
    unet.set_attn_processor(processors)
    return nn.ModuleList(layers)
