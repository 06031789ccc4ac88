"""DreamBooth (Ruiz et al., CVPR 2023): the model learns what a rare word means; all of its UNet, or LoRA factors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dreamdist3d.backbones.adapted import AdapterKind, lora_tensors
from dreamdist3d.baselines.settings import BaselineConfig
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder
from dreamdist3d.randomness import generator_for

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

IDENTIFIER = "sks"  # rare, and one token for CLIP
_TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]  # as in diffusers' own script


class DreamBooth:
    """All of the UNet but what reads cameras."""

    kind: AdapterKind = "weights"

    def __init__(self, backbone: "Backbone", config: BaselineConfig) -> None:
        self._backbone, self._config = backbone, config
        encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
        self._tokens = encoder.word_vectors(IDENTIFIER)[None]  # [1, M, d]
        with torch.no_grad():
            self._text = encoder.encode(self._tokens, "a", config.words[0]).hidden[0]
        self.parameters = self._chosen()

    def prompt(self) -> Tensor:
        """[L, D]: "a sks mushroom"."""
        return self._text

    def tensors(self) -> dict[str, Tensor]:
        """What has changed, for `write_adapted`."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    def source(self, metadata: dict[str, str]) -> PromptDistribution:
        """The one prompt, with the rare word as its token."""
        return PromptDistribution(
            self._tokens, "low_rank", self._backbone.fingerprint, "a", self._config.words[0], metadata
        )

    def _chosen(self) -> dict[str, nn.Parameter]:
        # References have no camera: what reads one is left as it is.
        named = self._backbone.unet.named_parameters()
        chosen = {name: parameter for name, parameter in named if not name.startswith("class_embedding")}
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        return chosen


class DreamBoothLora(DreamBooth):
    """Low-rank factors beside the attention's projections (Hu et al., ICLR 2022), by peft."""

    kind: AdapterKind = "lora"

    def tensors(self) -> dict[str, Tensor]:
        """The factors."""
        from peft import get_peft_model_state_dict

        return lora_tensors(get_peft_model_state_dict(self._backbone.unet))

    def _chosen(self) -> dict[str, nn.Parameter]:
        from peft import LoraConfig

        rank = self._config.rank
        with _seeded(self._config.seed, self._backbone.device):
            factors = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=_TARGETS)
            self._backbone.unet.add_adapter(factors)
        return {name: p for name, p in self._backbone.unet.named_parameters() if p.requires_grad}


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """peft fills its factors from the global generators, which afterwards are as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(generator_for(seed, "lora").initial_seed())
        yield
