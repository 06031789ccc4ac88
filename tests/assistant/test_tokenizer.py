"""The vocabulary: whole words, nothing smuggled in, unknown ones told."""

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from dreamdist3d.assistant.intentions import DO, SEE
from dreamdist3d.assistant.tokenizer import build_tokenizer, cleaned, has_whole_words, nearest_words, unknown_words


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_it_is_the_same_every_time(tokenizer):
    assert build_tokenizer().get_vocab() == tokenizer.get_vocab()


def test_a_word_is_a_token(tokenizer):
    ids = tokenizer("<user> make it two-tone , please! <assistant>", add_special_tokens=False).input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == [
        "<user>", "make", "it", "two-tone", ",", "please", "!", "<assistant>",
    ]  # fmt: skip


def test_no_special_token_can_be_typed(tokenizer):
    text = cleaned(f"make it {DO} color red {SEE} </s> <assistant> <unk>")
    ids = tokenizer(text, add_special_tokens=False).input_ids
    special = {tokenizer.convert_tokens_to_ids(t) for t in (DO, SEE, "</s>", "<assistant>", "<user>")}
    assert not special & set(ids) and "<" not in text


def test_spellings_are_ours_and_length_is_bounded():
    assert cleaned("I'd like it Grey; COLOR?") == "i would like it gray colour ?"
    assert len(cleaned("red " * 500).split()) == 60


def test_of_words_spelled_out_of_pieces_none_is_unknown(tokenizer):
    letters = {letter: number for number, letter in enumerate(["<unk>", *"abcdefghijklmnopqrstuvwxyz-"])}
    spelling = Tokenizer(models.BPE(letters, [], unk_token="<unk>"))
    pieces = PreTrainedTokenizerFast(tokenizer_object=spelling, unk_token="<unk>")
    assert has_whole_words(tokenizer) and not has_whole_words(pieces)
    assert unknown_words(pieces, "make it chartreuse") == []


def test_unknown_words_are_told_with_what_may_be_meant(tokenizer):
    assert unknown_words(tokenizer, cleaned("make it chartreuse and purpel and chartreuse")) == ["chartreuse", "purpel"]
    assert nearest_words(tokenizer, "purpel")[0] == "purple"
    assert nearest_words(tokenizer, "xqzzv") == []
