"""Learned tokens as long as words are."""

from typing import Any

from torch import Tensor

from dreamdist3d.prompts.encoder import PromptFeatures, SoftPromptEncoder


class VocabularyNorms(SoftPromptEncoder):
    """An encoder that gives every soft token the mean length of the vocabulary's embeddings; its direction stays.

    Learned tokens grow longer than any word (Directional Textual Inversion, arXiv 2512.13672). A network that never saw
    such prompts may answer them better when they are brought back. Moments without tokens are not changed.
    """

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:
        super().__init__(tokenizer, text_encoder)
        self.length = float(self.vocabulary()[0].norm(dim=-1).mean())

    def encode(
        self,
        tokens: Tensor,  # [K, M, d]
        prefix: str = "",
        suffix: str = "",
    ) -> PromptFeatures:
        """As `SoftPromptEncoder.encode`, of the shortened or lengthened tokens; zeros stay zeros."""
        norms = tokens.norm(dim=-1, keepdim=True)
        return super().encode(tokens * (self.length / norms.clamp(min=1e-12)), prefix, suffix)
