"""Where the language model fails the form of an answer, it is asked again with the words taken away that break it."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from dreamdist3d.assistant.intentions import ANY, DO, SAY, SEE, VALUES, Change, Seen
from dreamdist3d.mini.captions import SHAPE_WORDS
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.palette import COLOR_NAMES
from dreamdist3d.mini.surface import MATERIALS, PATTERNS

FEWEST = 2  # proposals of a wish
WISH, ANSWER, AND = "<wish>", "<answer>", "and"


class Grammar(LogitsProcessor):
    """Takes from a causal language model's next words those that may not follow the words so far.

    Args:
        tokenizer: of whole words, each a token.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._id, self._word = tokenizer.convert_tokens_to_ids, tokenizer.convert_ids_to_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B, V] after the words so far [B, L], minus infinity where a word may not stand."""
        kept = torch.full_like(scores, -torch.inf)
        for row, ids in enumerate(input_ids):
            allowed = self.next_words(self._word(ids.tolist()))
            places = slice(None) if allowed is None else [self._id(word) for word in allowed]
            kept[row, places] = scores[row, places]
        return kept

    @abstractmethod
    def next_words(self, words: Sequence[str]) -> Sequence[str] | None:
        """What may follow; None: anything."""


class WishGrammar(Grammar):
    """A wish that begins with two proposals which differ, change something, and leave what is to stay.

    Everything else stays the model's: which proposals, whether there are more than two, and what it says of them. Each
    proposal is `<do> KIND VALUE`, one change.

    Args:
        tokenizer: of whole words, each a token.
        seen: what the picture shows.
        kept: kinds of change that the request forbids.
    """

    def __init__(self, tokenizer: Any, seen: Seen, kept: set[str]) -> None:
        super().__init__(tokenizer)
        self._seen, self._kept = seen, kept

    def next_words(self, words: Sequence[str]) -> Sequence[str] | None:
        """What may follow; None: anything."""
        if WISH not in words:
            return [WISH]
        _, *parts = " ".join(words[words.index(WISH) + 1 :]).split(DO)
        proposals = [tuple(part.split()) for part in parts]
        whole = [one for one in proposals if len(one) == 2]
        if len(whole) >= FEWEST:
            return None
        if len(whole) == len(proposals):
            return [DO]
        left = {kind: self._values(kind, whole) for kind in VALUES if kind not in self._kept}
        begun = proposals[-1]
        return left[begun[0]] if begun else [kind for kind, values in left.items() if values]

    def _values(self, kind: str, made: Sequence[tuple[str, ...]]) -> list[str]:
        """The words that `kind` can be set to, which change something, and not what a proposal does already."""
        values = [value for value in VALUES[kind] if (kind, value) not in made]
        return [v for v in values if v == ANY or self._seen.after([Change(kind, v)]) != self._seen]


class SeenGrammar(Grammar):
    """What a picture shows, as `write_seen` orders it: a colour, a family and its part's colour at least."""

    _BEFORE = (SHAPE_WORDS, MATERIALS, PATTERNS, COLOR_NAMES)

    def next_words(self, words: Sequence[str]) -> Sequence[str] | None:
        """What may follow; None: anything."""
        if SEE not in words:
            return [SEE]
        if ANSWER in words:
            return None if SAY in words else [SAY]
        last = words[-1]
        family = next((i for i, word in enumerate(words) if word in FAMILIES), None)
        if family is not None:
            return COLOR_NAMES if family == len(words) - 1 else [ANSWER]
        if last == AND:
            return COLOR_NAMES
        if last in COLOR_NAMES:
            return list(FAMILIES) if AND in words else [AND, *FAMILIES]
        places = [place for place, group in enumerate(self._BEFORE) if last in group]
        later = self._BEFORE[places[0] + 1 :] if places else self._BEFORE
        return [word for group in later for word in group]
