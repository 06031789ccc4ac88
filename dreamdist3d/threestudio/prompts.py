"""From a prompt processor's settings to the embeddings a guidance reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamdist3d.config import PromptProcessorConfig
from dreamdist3d.guidance.directions import Words, check_lengths, encode_views
from dreamdist3d.prompts import PromptDraw, PromptSource
from dreamdist3d.runs.condition import encode_negative, open_distribution
from dreamdist3d.threestudio.encoders import open_encoder


@dataclass(frozen=True)
class EncodedPrompt:
    """Float32 embeddings of one draw (or text) without and with view directions, and of the negative prompts."""

    text: Tensor  # [1, L, D]
    negative: Tensor  # [1, L, D]
    text_views: Tensor  # [V, L, D]
    negative_views: Tensor  # [V, L, D]
    identity: dict[str, Any]  # "draw" and "distribution", ready for JSON; empty for a plain text


def draw_of(settings: PromptProcessorConfig, source: PromptSource) -> PromptDraw:
    """The draw that concrete settings name."""
    return source.draw(settings.chosen_seed, settings.gamma, settings.prefix, settings.suffix, settings.antithetic)


def label_of(settings: PromptProcessorConfig) -> str:
    """The prompt in words for logs: `a photo of <mushrooms-17> at night`."""
    names = "+".join(Path(name).stem for name in settings.files)
    parts = (settings.prefix, f"<{names}-{settings.draw_seed}>", settings.suffix)
    return " ".join(part for part in parts if part)


def check_prompt(settings: PromptProcessorConfig, model: str, words: Sequence[Words]) -> None:
    """All that can be wrong with a prompt, in seconds on the CPU and before anything large is loaded.

    Args:
        settings: with a concrete draw seed.
        model: whose text encoder it is for, as `open_encoder` takes it.
        words: of the view directions.

    Raises:
        UserError: a missing or damaged file, another text encoder, too long a prompt.
    """
    source = open_distribution(settings)
    encoder = open_encoder(model, source)
    encode_negative(encoder, [settings.negative_prompt])
    if source is None:
        encoder.encode_text([before + settings.prompt + after for before, after in words])
    else:
        check_lengths(source, draw_of(settings, source), encoder, [("", ""), *words])


@torch.no_grad()
def encode_prompt(
    settings: PromptProcessorConfig,
    model: str,
    words: Sequence[Words],
    texts: Sequence[str],
    negatives: Sequence[str],
    device: Any,
) -> EncodedPrompt:
    """Encode the draw, or the plain text, under each direction; the text encoder is dropped again.

    Args:
        settings: with a concrete draw seed.
        model: whose text encoder it is for, as `open_encoder` takes it.
        words: of the V view directions, for a draw.
        texts: the plain prompt, and it under the V directions; read when there is no distribution.
        negatives: the negative prompt, and it under the V directions.
        device: where to encode, and where the embeddings are.

    Raises:
        UserError: as `check_prompt`.
    """
    source = open_distribution(settings)
    encoder = open_encoder(model, source, device)
    negative = encode_negative(encoder, negatives)
    if source is None:
        views, identity = encoder.encode_text(texts).hidden, {}
    else:
        draw = draw_of(settings, source)
        views = encode_views(source, draw, encoder, [("", ""), *words])
        identity = identity_of(settings, source, draw.omega_sha256(source.moments_for(draw, encoder)))
    return EncodedPrompt(views[:1], negative[:1], views[1:], negative[1:], identity)


def identity_of(
    settings: PromptProcessorConfig, source: PromptSource | None = None, omega_sha256: str | None = None
) -> dict[str, Any]:
    """What a run must find again at every later start; nothing for a plain text.

    Args:
        settings: with a concrete draw seed.
        source: what they name; None: opened here.
        omega_sha256: of the draw, known once it is encoded.

    Raises:
        UserError: a file is missing or damaged, or they cannot be composed.
    """
    source = source or open_distribution(settings)
    if source is None:
        return {}
    paths = [str(Path(name).resolve()) for name in settings.files]
    draw = draw_of(settings, source).to_dict() | ({"omega_sha256": omega_sha256} if omega_sha256 else {})
    return {
        "draw": draw,
        "distribution": {"path": paths[0] if len(paths) == 1 else paths, "sha256": source.content_hash},
    }
