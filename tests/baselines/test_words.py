"""Plain words as prompts."""

import pytest
import torch

from dreamdist3d.baselines.words import words_source
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import SoftPromptEncoder
from tests.prompts.tiny import TinyBackbone


@pytest.fixture
def backbone(tmp_path):
    return TinyBackbone(tmp_path / "tokenizer")


def test_a_prompt_of_words_is_the_text_itself_to_the_last_bit(backbone):
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    source = words_source(backbone, ["a red cat"], {})
    expected = encoder.encode_text(["a red cat"]).hidden[0]
    for seed in range(3):
        assert torch.equal(source.embed(source.draw(seed), encoder), expected)
    edited = source.embed(source.draw(0, suffix="at night"), encoder)
    assert torch.equal(edited, encoder.encode_text(["a red cat at night"]).hidden[0])


def test_several_texts_are_drawn_from(backbone, tmp_path):
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    texts = ["a red cat", "a dog"]
    source = words_source(backbone, texts, {"backbone": "tiny"})
    hidden = encoder.encode_text(texts).hidden
    drawn = [source.embed(source.draw(seed), encoder) for seed in range(40)]
    which = [min(range(2), key=lambda i, one=one: float((hidden[i] - one).abs().max())) for one in drawn]
    assert all(torch.equal(one, hidden[i]) for one, i in zip(drawn, which, strict=True))
    assert 8 < sum(which) < 32
    assert source.metadata["backbone"] == "tiny"


def test_too_long_or_no_words_are_told_at_once(backbone):
    with pytest.raises(UserError, match="too long"):
        words_source(backbone, ["a cat", "dog " * 40], {})
    with pytest.raises(UserError, match="holds no word"):
        words_source(backbone, ["   "], {})
