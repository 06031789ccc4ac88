"""Plain words as prompts: what the backbone makes of a caption, with nothing learned."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dreamdist3d.prompts import PromptComposition, PromptDistribution, PromptSource, SoftPromptEncoder

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone


def words_source(backbone: "Backbone", words: Sequence[str], metadata: dict[str, str]) -> PromptSource:
    """Each text as a distribution of one prompt, whose tokens are its words' own vectors; several as a mixture.

    Raises:
        UserError: a text without a word, or one too long for the text encoder.
    """
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    encoder.encode_text(words)  # a text that is too long is told now
    prompts = tuple(
        PromptDistribution(
            encoder.word_vectors(text)[None], "low_rank", backbone.fingerprint, metadata={**metadata, "words": text}
        )
        for text in words
    )
    return prompts[0] if len(prompts) == 1 else PromptComposition(prompts, kind="mixture")
