"""The miniature assistant's own vocabulary: whole words, so that a word it does not know is known to be unknown."""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dreamdist3d.assistant import world
from dreamdist3d.assistant.grammar import phrases, words
from dreamdist3d.assistant.grammar.dialogues import draw_turn
from dreamdist3d.assistant.intentions import ACTS, DO, SAY, SEE, VALUES, Seen, write_plan
from dreamdist3d.mini.families import FAMILIES

PAST, USER, ASSISTANT = "<past>", "<user>", "<assistant>"
BOS, EOS, UNK = "<s>", "</s>", "<unk>"
SPECIAL = (UNK, BOS, EOS, PAST, USER, ASSISTANT, SEE, DO, SAY, *(f"<{act}>" for act in ACTS))
_WORD = r"[\w'-]+|[.,!?]"
_DRAWN = 3000  # turns whose words are looked at beside the tables
_SPELLINGS = {
    "color": "colour", "colors": "colours", "colored": "coloured", "grey": "gray", "i'd": "i would", "i'm": "i am",
    "it's": "it is", "that's": "that is", "what's": "what is", "let's": "let us", "shiny": "glossy", "matte": "matt",
    "polka-dots": "dots", "dotty": "dotted", "spots": "dots", "stripy": "striped", "stripey": "striped",
    "checkered": "checked", "metal": "metal", "chequered": "checked",
}  # fmt: skip


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Every word of the training sentences and of the assistant's own, a token each; all others are `<unk>`."""
    known = sorted({word for text in corpus() for word in split_words(text)})
    vocab = {token: index for index, token in enumerate(dict.fromkeys([*SPECIAL, *known]))}
    model = Tokenizer(models.WordLevel(vocab, unk_token=UNK))
    model.normalizer = normalizers.Lowercase()
    model.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
    special: dict[str, Any] = {"bos_token": BOS, "eos_token": EOS, "unk_token": UNK, "pad_token": EOS}
    rest = [token for token in SPECIAL if token not in (UNK, BOS, EOS)]
    return PreTrainedTokenizerFast(tokenizer_object=model, additional_special_tokens=rest, **special)


def corpus() -> Iterator[str]:
    """Texts that hold every word of training: the tables, and turns about every family. No held-out sentence."""
    for patterns in phrases.TRAIN.values():
        for pattern in patterns:
            yield from (re.sub(r"\{\w+\}", " ", text) for text in phrases.alternatives(pattern))
    yield " ".join((*phrases.OPENERS, *phrases.CLOSERS, *VALUES, *words.MORE.values(), *words.KEPT.values()))
    for table in (*VALUES.values(), *world.IMPOSSIBLE.values(), *words.PATTERN_NOUNS.values()):
        yield " ".join(table)
    for nouns in words.MATERIAL_NOUNS.values():
        yield " ".join(nouns)
    yield " ".join((*world.REASONS.values(), *words.NUMBER_WORDS.values(), "polka-dots"))
    for triggers, _ in world.MOODS.values():
        yield " ".join(triggers)
    rng = np.random.default_rng(0)
    for index in range(_DRAWN):
        family = list(FAMILIES)[index % len(FAMILIES)]
        yield f"{family} {FAMILIES[family].part}"
        turn = draw_turn(Seen(family, "red", "striped", "glossy", "blue", "white", "tall"), rng)
        yield f"{turn.request} {write_plan(turn.plan)}"


def split_words(text: str) -> list[str]:
    """The words and marks of a text that are no special tokens, in lower case."""
    return re.findall(_WORD, re.sub(r"</?\w+>", " ", text.lower()))


def cleaned(request: str, most: int = 60) -> str:
    """What a person typed, as words and marks alone: no special token can be smuggled in, spellings are ours.

    At most `most` words.
    """
    plain = request.lower().replace("’", "'")
    found = re.findall(_WORD, re.sub(r"[<>]", " ", plain))
    return " ".join(_SPELLINGS.get(word, word) for word in found[:most])


def has_whole_words(tokenizer: Any) -> bool:
    """Whether a plan's words are a token each, as here; else words are spelled out of pieces, and none is unknown."""
    words = [*VALUES, *(value for values in VALUES.values() for value in values)]
    return tokenizer.unk_token_id is not None and all(
        len(ids) == 1 for ids in tokenizer(words, add_special_tokens=False).input_ids
    )


def unknown_words(tokenizer: Any, request: str) -> list[str]:
    """The words of a cleaned request that the vocabulary lacks, each once, in their order.

    A language model's own tokenizer, which spells out whatever it is given, lacks none.
    """
    if not has_whole_words(tokenizer):
        return []
    found = (word for word in request.split() if tokenizer.convert_tokens_to_ids(word) == tokenizer.unk_token_id)
    return list(dict.fromkeys(word for word in found if word != tokenizer.unk_token))


def nearest_words(tokenizer: Any, word: str) -> list[str]:
    """Known words that are spelled like an unknown one: what may have been meant."""
    known: Iterable[str] = (token for token in tokenizer.get_vocab() if token[0].isalpha())
    return difflib.get_close_matches(word, list(known), n=2, cutoff=0.75)
