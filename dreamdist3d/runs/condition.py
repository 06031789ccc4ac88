"""What a run is guided towards: a draw of a distribution or a plain text, encoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.config import PromptProcessorConfig
from dreamdist3d.errors import UserError
from dreamdist3d.guidance.directions import encode_views, view_words
from dreamdist3d.prompts import PromptDraw, PromptSource, SoftPromptEncoder, open_distributions


@dataclass(frozen=True)
class Condition:
    """The encoded prompt and negative prompt, and where they come from (None for a plain text)."""

    text: Tensor  # [L, D]
    negative: Tensor  # [L, D]
    text_views: Tensor | None  # [4, L, D], under the view directions, for a backbone that does not see cameras
    draw: dict[str, Any] | None
    distribution: dict[str, Any] | None


def open_distribution(processor: PromptProcessorConfig) -> PromptSource | None:
    """The distribution a run draws from, or None for a plain text prompt.

    Raises:
        UserError: neither a distribution nor a prompt is given, a file is not one, or they cannot be composed.
    """
    if processor.files:
        return open_distributions([Path(name) for name in processor.files], processor.weights, processor.composition)
    if not processor.prompt.strip():
        raise UserError(
            "nothing to make: give system.prompt_processor.distribution=FILE.safetensors (made by `dreamdist3d learn`) "
            "or system.prompt_processor.prompt=TEXT."
        )
    return None


@torch.no_grad()
def encode_condition(
    processor: PromptProcessorConfig,
    distribution: PromptSource | None,
    backbone: Backbone,
    recorded_draw: dict[str, Any] | None,
) -> Condition:
    """Encode the prompt and the negative prompt; the processor's draw seed must be concrete.

    Raises:
        UserError: a prompt is too long, or the draw is not the recorded one any more.
    """
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    negative = encode_negative(encoder, [processor.negative_prompt])[0]
    words = view_words() if backbone.n_views == 1 else None
    if distribution is None:
        text = encoder.encode_text([processor.prompt]).hidden[0]
        worded = words and [before + processor.prompt + after for before, after in words]
        return Condition(text, negative, worded and encoder.encode_text(worded).hidden, None, None)
    draw = distribution.draw(
        processor.draw_seed, processor.gamma, processor.prefix, processor.suffix, processor.antithetic
    )
    moments = distribution.moments_for(draw, encoder)
    if recorded_draw is not None:
        PromptDraw.from_dict(recorded_draw, moments)
    paths = [str(Path(name).resolve()) for name in processor.files]
    source = {"path": paths[0] if len(paths) == 1 else paths, "sha256": distribution.content_hash}
    text_views = words and encode_views(distribution, draw, encoder, words)
    return Condition(draw.embed(moments), negative, text_views, draw.to_dict(moments), source)


def encode_negative(encoder: SoftPromptEncoder, texts: Sequence[str]) -> Tensor:
    """Negative prompts, [N, L, D].

    Raises:
        UserError: one is too long; names its key.
    """
    try:
        return encoder.encode_text(texts).hidden
    except UserError as error:
        raise UserError(
            f"system.prompt_processor.negative_prompt: {error} Or leave it empty: "
            "system.prompt_processor.negative_prompt="
        ) from error
