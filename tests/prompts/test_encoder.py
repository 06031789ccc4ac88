"""Soft prompts against the stock text encoder."""

import pytest
import torch
from torch import nn

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import SoftPromptEncoder
from tests.prompts.tiny import EOS, LENGTH, WIDTH, tiny_text_encoder, tiny_tokenizer


class OlderLayout(nn.Module):
    """CLIPTextModel as transformers 4 lays it out: everything below `.text_model`."""

    def __init__(self, model):
        super().__init__()
        self.text_model, self.config = model, model.config

    def get_input_embeddings(self):
        return self.text_model.get_input_embeddings()

    def forward(self, input_ids):
        return self.text_model(input_ids=input_ids)


@pytest.fixture(params=[EOS, "!"], ids=["pad-eos", "pad-other"])
def parts(request, tmp_path):
    tokenizer = tiny_tokenizer(tmp_path, request.param)
    return tokenizer, tiny_text_encoder(tokenizer)


def stock(tokenizer, model, text):
    ids = tokenizer([text], padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids
    return ids, model(ids)


def embedding_of(tokenizer, model, words):
    ids = tokenizer(words, add_special_tokens=False, return_tensors="pt").input_ids
    return model.get_input_embeddings()(ids)


@pytest.mark.parametrize("layout", [lambda m: m, OlderLayout], ids=["transformers-5", "transformers-4"])
@pytest.mark.parametrize("prefix,middle,suffix", [("a photo of a", "red cat", "at night"), ("", "dog", "")])
def test_real_words_as_vectors_equal_the_stock_encoder(parts, layout, prefix, middle, suffix):
    tokenizer, model = parts
    _, expected = stock(tokenizer, model, f"{prefix} {middle} {suffix}".strip())
    tokens = embedding_of(tokenizer, model, middle)
    features = SoftPromptEncoder(tokenizer, layout(model)).encode(tokens, prefix, suffix)
    torch.testing.assert_close(features.hidden, expected[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(features.pooled, expected.pooler_output, atol=1e-6, rtol=0)


def test_plain_texts_equal_the_stock_encoder_each_at_its_own_end(parts):
    tokenizer, model = parts
    texts = ["a photo of a cat", "", "red dog, front view"]
    features = SoftPromptEncoder(tokenizer, model).encode_text(texts)
    for index, text in enumerate(texts):
        ids, expected = stock(tokenizer, model, text)
        end = int((ids[0] == tokenizer.eos_token_id).int().argmax())
        torch.testing.assert_close(features.hidden[index], expected[0][0], atol=1e-6, rtol=0)
        torch.testing.assert_close(features.pooled[index], expected[0][0, end], atol=1e-6, rtol=0)


def test_causal_and_differentiable_from_the_tokens_on(parts):
    tokenizer, model = parts
    encoder = SoftPromptEncoder(tokenizer, model)
    tokens = torch.randn(2, 3, WIDTH, generator=torch.Generator().manual_seed(0)).requires_grad_()
    hidden = encoder.encode(tokens, prefix="a photo of").hidden
    first = 1 + 3
    assert torch.equal(hidden[0, :first], hidden[1, :first])
    for position, reaches in ((first - 1, 0), (first, 1), (first + 1, 2), (LENGTH - 1, 3)):
        (gradient,) = torch.autograd.grad(hidden[0, position].square().sum(), tokens, retain_graph=True)
        assert (gradient[0].abs().sum(-1) > 0).tolist() == [place < reaches for place in range(3)]
        assert not gradient[1].any()
    assert all(weight.grad is None for weight in model.parameters())


def test_a_failed_encoding_leaves_the_model_as_it_was(parts):
    tokenizer, model = parts
    encoder = SoftPromptEncoder(tokenizer, model)
    before = encoder.encode_text(["a cat"]).hidden
    encoder.encode(torch.zeros(1, 2, WIDTH))
    with pytest.raises(RuntimeError):
        encoder.encode(torch.zeros(1, 2, WIDTH, device="meta"))
    assert torch.equal(encoder.encode_text(["a cat"]).hidden, before)


def test_exactly_full_fits_and_more_says_by_how_much(parts):
    tokenizer, model = parts
    encoder = SoftPromptEncoder(tokenizer, model)
    room = LENGTH - 4  # two marks, two words
    assert encoder.encode(torch.zeros(1, room, WIDTH), "a photo").hidden.shape == (1, LENGTH, WIDTH)
    with pytest.raises(UserError, match="3 tokens too long"):
        encoder.encode(torch.zeros(1, room + 3, WIDTH), "a photo")
    with pytest.raises(UserError, match="1 token too long"):
        encoder.encode_text(["a cat", " ".join(["cat"] * (LENGTH - 1))])


@pytest.mark.parametrize("shape", [(4, WIDTH), (2, 3, WIDTH + 1)])
def test_tokens_of_another_width_or_rank_are_named(parts, shape):
    with pytest.raises(UserError, match=rf"takes \[K, M, {WIDTH}\]"):
        SoftPromptEncoder(*parts).encode(torch.zeros(shape))


def test_an_exclamation_mark_is_a_word_even_where_it_also_pads(parts):
    tokenizer, model = parts
    vocabulary = tokenizer.get_vocab()
    words = [vocabulary[word] for word in ("a</w>", "cat</w>", "!</w>")]
    ids = [tokenizer.bos_token_id, *words, tokenizer.eos_token_id]
    ids += [tokenizer.pad_token_id] * (LENGTH - len(ids))
    hidden = SoftPromptEncoder(tokenizer, model).encode_text(["a cat!"]).hidden
    torch.testing.assert_close(hidden, model(torch.tensor([ids]))[0], atol=1e-6, rtol=0)


@torch.no_grad()
def test_many_prompts_go_through_a_few_at_a_time(parts, monkeypatch):
    """With a gradient all at once, for whoever learns."""
    encoder = SoftPromptEncoder(*parts)
    tokens = torch.randn(7, 2, WIDTH, generator=torch.Generator().manual_seed(0))
    whole = encoder.encode(tokens, "a photo of")
    seen = []
    parts[1].register_forward_pre_hook(
        lambda model, given, named: seen.append(len(named["input_ids"])), with_kwargs=True
    )
    monkeypatch.setattr("dreamdist3d.prompts.encoder._AT_ONCE", 3)
    few = encoder.encode(tokens, "a photo of")
    torch.testing.assert_close(few.hidden, whole.hidden, atol=1e-6, rtol=0)
    assert torch.equal(few.ends, whole.ends) and seen == [3, 3, 1]
    with torch.enable_grad():
        encoder.encode(tokens, "a photo of")
    assert seen == [3, 3, 1, 7]
