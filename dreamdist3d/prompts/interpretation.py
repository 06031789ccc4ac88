"""What learned tokens resemble: their nearest words, and how far they have left the vocabulary's range."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.encoder import SoftPromptEncoder

# Norms beyond this many times the longest word's are far outside all that the text encoder was trained on.
INFLATED = 3.0


@dataclass(frozen=True)
class Nearest:
    """A word of the vocabulary and its cosine similarity with a learned token."""

    word: str
    cosine: float


@dataclass(frozen=True, eq=False)
class Interpretation:
    """Facts about a distribution's tokens, beside the vocabulary they live in."""

    prompts: list[list[Nearest]]  # [K][M], the nearest word of every token
    mean: list[list[Nearest]]  # [M][some], the nearest words of each position's mean over K
    norms: Tensor  # [K, M], length of every token
    word_norms: Tensor  # [V], length of every word of the vocabulary

    @property
    def inflation(self) -> float:
        """Median length of the tokens over the longest word's; near or below 1 when all is well."""
        return float(self.norms.median() / self.word_norms.max())

    @property
    def warning(self) -> str | None:
        """One line when the norms have inflated, else None."""
        if self.inflation <= INFLATED:
            return None
        return (
            f"the tokens are {self.inflation:.1f} times as long as the longest word of the vocabulary: they have left "
            "the range the text encoder knows, and edits by words may have no effect. Learn again with a smaller "
            "--lr or fewer --steps."
        )


@torch.no_grad()
def interpret(distribution: PromptDistribution, encoder: SoftPromptEncoder, words: int = 5) -> Interpretation:
    """Nearest words by cosine at the encoder's input (DreamDistribution, appendix), and token lengths.

    Args:
        words: how many for each position of the mean.

    Raises:
        UserError: the encoder has another width.
    """
    tokens = distribution.tokens
    vocabulary, names = encoder.vocabulary()
    if tokens.shape[-1] != vocabulary.shape[-1]:
        raise UserError(
            f"the tokens are {tokens.shape[-1]} wide, this text encoder's words {vocabulary.shape[-1]}: "
            "use the backbone they were learned with."
        )
    return Interpretation(
        prompts=[[found[0] for found in row] for row in _nearest(tokens, vocabulary, names, 1)],
        mean=_nearest(tokens.mean(0, keepdim=True), vocabulary, names, words)[0],
        norms=tokens.norm(dim=-1),
        word_norms=vocabulary.norm(dim=-1),
    )


def _nearest(tokens: Tensor, vocabulary: Tensor, names: list[str], count: int) -> list[list[list[Nearest]]]:
    cosines = F.normalize(tokens, dim=-1) @ F.normalize(vocabulary, dim=-1).T  # [K, M, V]
    found = cosines.topk(min(count, len(names)), dim=-1)
    return [
        [
            [Nearest(names[i], float(c)) for c, i in zip(values, indices, strict=True)]
            for values, indices in zip(row_values, row_indices, strict=True)
        ]
        for row_values, row_indices in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    ]
