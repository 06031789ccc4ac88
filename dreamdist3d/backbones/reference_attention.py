"""Pictures beside words in the UNet's cross-attention: decoupled keys and values, as in IP-Adapter (Ye et al. 2023).

A prompt with references is longer than the text encoder's L: [L + T, D], with T tokens of pictures behind the words. So
whatever hands prompts to a backbone (a sampler, a guidance, a lift) hands the references along with them. Zeros are no
references, exactly: their keys and values are zero, and so is what they add.

There may be several branches, as in CAFE (Zhou et al. 2023, equation 1), each with keys, values and a scale of its own:
what stands behind the words is then cut into as many pieces.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import Attention


class ReferenceAttention(IPAdapterAttnProcessor2_0):
    """Cross-attention to words, and, through keys and values of each branch's own, to what stands behind them.

    Args:
        hidden_size: channels of the layer.
        cross_attention_dim: D.
        words: L, of the text encoder.
        counts: tokens of every branch but the last, which takes the rest; none: there is one branch.
    """

    counts: Tensor

    def __init__(self, hidden_size: int, cross_attention_dim: int, words: int, counts: Sequence[int] = ()) -> None:
        super().__init__(hidden_size, cross_attention_dim, [*counts, 0])
        self.words = words
        if counts:  # kept with the weights, since these mean nothing without
            self.register_buffer("counts", torch.tensor(counts))
        self._counts = list(counts)
        for values in self.to_v_ip:
            nn.init.zeros_(values.weight)  # as long as nothing is learned, references change nothing

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
        branches = []  # the loop over them is empty where there are none
        if seen.shape[1]:
            branches = list(seen.split([*self._counts, seen.shape[1] - sum(self._counts)], dim=1))
        return super().__call__(attn, hidden_states, (words, branches), attention_mask, temb)


def install_reference_attention(
    unet: "UNet2DConditionModel",
    words: int,  # L, of the text encoder
    counts: Sequence[int] = (),  # as of `ReferenceAttention`
) -> nn.ModuleList:
    """Let the cross-attention of `unet` see references, in place; its new layers, which at first add nothing."""
    processors: dict[str, Any] = dict(unet.attn_processors)
    weight = next(unet.parameters())
    layers = []
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            made = ReferenceAttention(module.inner_dim, module.cross_attention_dim, words, counts)
            layers.append(made.to(weight.device, weight.dtype).requires_grad_(False))
            processors[f"{name}.processor"] = layers[-1]
    unet.set_attn_processor(processors)
    return nn.ModuleList(layers)


def scale_references(unet: "UNet2DConditionModel", scales: Sequence[float]) -> None:
    """Set how much each branch adds to the attention to words; 1 is as learned, 0 is nothing."""
    for layer in unet.attn_processors.values():
        if isinstance(layer, ReferenceAttention):
            layer.scale = list(scales)
