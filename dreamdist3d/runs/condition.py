"""What a run is guided towards: a draw of a distribution or a plain text, encoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.config import PromptProcessorConfig
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution, PromptDraw, SoftPromptEncoder


@dataclass(frozen=True)
class Condition:
    """The encoded prompt and negative prompt, and where they come from (None for a plain text)."""

    text: Tensor  # [L, D]
    negative: Tensor  # [L, D]
    draw: dict[str, Any] | None
    distribution: dict[str, str] | None


def open_distribution(processor: PromptProcessorConfig) -> PromptDistribution | None:
    """The distribution a run draws from, or None for a plain text prompt.

    Raises:
        UserError: neither a distribution nor a prompt is given, or the file is not one.
    """
    if processor.distribution is not None:
        return PromptDistribution.load(Path(processor.distribution))
    if not processor.prompt.strip():
        raise UserError(
            "nothing to make: give system.prompt_processor.distribution=FILE.safetensors (made by `dreamdist3d learn`) "
            "or system.prompt_processor.prompt=TEXT."
        )
    return None


@torch.no_grad()
def encode_condition(
    processor: PromptProcessorConfig,
    distribution: PromptDistribution | None,
    backbone: Backbone,
    recorded_draw: dict[str, Any] | None,
) -> Condition:
    """Encode the prompt and the negative prompt; the processor's draw seed must be concrete.

    Raises:
        UserError: a prompt is too long, or the draw is not the recorded one any more.
    """
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    negative = encoder.encode_text([processor.negative_prompt]).hidden[0]
    if distribution is None:
        return Condition(encoder.encode_text([processor.prompt]).hidden[0], negative, None, None)
    moments = distribution.moments(encoder, processor.prefix, processor.suffix)
    if recorded_draw is not None:
        PromptDraw.from_dict(recorded_draw, moments)
    draw = distribution.draw(processor.draw_seed, processor.gamma)
    source = {"path": str(Path(processor.distribution).resolve()), "sha256": distribution.content_hash}
    return Condition(draw.embed(moments), negative, draw.to_dict(moments), source)
