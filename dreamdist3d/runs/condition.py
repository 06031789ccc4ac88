"""What a run is guided towards: a draw of a distribution or a plain text, encoded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.backbones.find import find
from dreamdist3d.backbones.parts import load_part
from dreamdist3d.config import PromptProcessorConfig
from dreamdist3d.errors import UserError, shown
from dreamdist3d.files import read_json
from dreamdist3d.guidance import Condition
from dreamdist3d.guidance.directions import encode_views, view_words
from dreamdist3d.prompts import PromptDraw, PromptSource, SoftPromptEncoder, open_distributions

_CLIP_LENGTH, _MOST_WORDS = 77, 20_000


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


def check_words(processor: PromptProcessorConfig, backbone: str) -> None:
    """That the words of a prompt fit the backbone's text encoder, found out without loading it.

    What cannot be told here (weights that are not on this machine, tokens between the words) the encoder tells.

    Raises:
        UserError: a text is too long.
    """
    from transformers import CLIPTokenizer

    from dreamdist3d.backbones.convert.tokenizer import END, clip_tokenizer

    words = (processor.prefix or "") + " " + (processor.suffix or "") if processor.files else processor.prompt
    for key, text in (("prompt", words), ("negative_prompt", processor.negative_prompt)):
        if len(text) > _MOST_WORDS:
            raise UserError(f"system.prompt_processor.{key} has {len(text)} characters, which no text encoder reads.")
    try:
        folder = find(backbone).path
        tokenizer = load_part(CLIPTokenizer, folder / "tokenizer") if folder.is_dir() else clip_tokenizer(END)
    except UserError:
        return
    config = folder / "text_encoder" / "config.json"
    longest = (read_json(config) if config.is_file() else {}).get("max_position_embeddings", _CLIP_LENGTH)
    for key, text in (("prompt", words), ("negative_prompt", processor.negative_prompt)):
        length = len(tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids) + 2
        if length > longest:
            raise UserError(
                f"system.prompt_processor.{key} has {length} tokens (begin and end marks counted), and the text "
                f"encoder of {backbone} reads {longest}: shorten it ({shown(text)})."
            )


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
    words = view_words() if backbone.n_views == 1 else []
    if distribution is None:
        text = encoder.encode_text([processor.prompt]).hidden[0]
        worded = [before + processor.prompt + after for before, after in words]
        return Condition(text, negative, encoder.encode_text(worded).hidden if worded else None, None, None)
    draw = distribution.draw(
        processor.chosen_seed, processor.gamma, processor.prefix, processor.suffix, processor.antithetic
    )
    moments = distribution.moments_for(draw, encoder)
    if recorded_draw is not None:
        PromptDraw.from_dict(recorded_draw, moments)
    source = origin_of(processor, distribution)
    text_views = encode_views(distribution, draw, encoder, words) if words else None
    return Condition(draw.embed(moments), negative, text_views, draw.to_dict(moments), source)


def origin_of(processor: PromptProcessorConfig, distribution: PromptSource) -> dict[str, Any]:
    """What a run's record says of its distribution."""
    paths = [str(Path(name).resolve()) for name in processor.files]
    return {
        "path": paths[0] if len(paths) == 1 else paths,
        "sha256": distribution.content_hash,
        "learned_with": distribution.metadata.get("backbone"),
    }


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
