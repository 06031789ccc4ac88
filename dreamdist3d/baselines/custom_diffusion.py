"""Custom Diffusion (Kumari et al., CVPR 2023): a new word, and the keys and values that the UNet makes of words."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from dreamdist3d.backbones.adapted import AdapterKind
from dreamdist3d.baselines.settings import BaselineConfig
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

_FIRST = "ktn"  # the rare word that the new one begins as, in the published code
_PROJECTIONS = ("attn2.to_k.weight", "attn2.to_v.weight")


class CustomDiffusion:
    """Cross-attention's key and value projections, and one token before the class's words."""

    kind: AdapterKind = "weights"

    def __init__(self, backbone: "Backbone", config: BaselineConfig) -> None:
        self._backbone, self._config = backbone, config
        self._encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
        # One token for CLIP; a small vocabulary spells it, and its letters' mean is as rare a place to begin.
        self._token = nn.Parameter(self._encoder.word_vectors(_FIRST).mean(0).to(backbone.device)[None, None])
        self._weights = {
            name: parameter for name, parameter in backbone.unet.named_parameters() if name.endswith(_PROJECTIONS)
        }
        for parameter in self._weights.values():
            parameter.requires_grad_(True)
        self.parameters = {"token": self._token, **self._weights}

    def prompt(self) -> Tensor:
        """[L, D]: "a <new> mushroom"; differentiable in the token."""
        return self._encoder.encode(self._token, "a", self._config.words[0]).hidden[0]

    def tensors(self) -> dict[str, Tensor]:
        """The projections."""
        return {name: parameter.detach() for name, parameter in self._weights.items()}

    def source(self, metadata: dict[str, str]) -> PromptDistribution:
        """The one prompt, with the learned token."""
        return PromptDistribution(
            self._token.detach(), "low_rank", self._backbone.fingerprint, "a", self._config.words[0], metadata
        )
