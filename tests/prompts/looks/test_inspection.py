"""What a distribution says: nearest words, lengths, warnings, plots."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder
from dreamdist3d.prompts.looks.inspection import INFLATED, inspect, interpret, print_inspection, save_plots
from tests.prompts.tiny import LENGTH, WIDTH, tiny_text_encoder, tiny_tokenizer


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    tokenizer = tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return SoftPromptEncoder(tokenizer, tiny_text_encoder(tokenizer))


def made_of(encoder, words, scale=1.0):
    """A distribution whose tokens are these words' own embeddings: [K][M] words."""
    vocabulary, names = encoder.vocabulary()
    rows = [[vocabulary[names.index(word)] * scale for word in row] for row in words]
    return PromptDistribution(torch.stack([torch.stack(row) for row in rows]), "low_rank", "ab" * 32, prefix="a")


def test_the_vocabulary_is_every_word_but_the_special_marks(encoder):
    vocabulary, names = encoder.vocabulary()
    assert {"cat", "night", "photo"} <= set(names) and not {"<|startoftext|>", "<|endoftext|>"} & set(names)
    assert vocabulary.shape == (len(names), WIDTH) and len(encoder.vocabulary()[1]) == len(names)


def test_tokens_that_are_words_are_found_whatever_their_length(encoder):
    words = [["cat", "night"], ["dog", "red"], ["cat", "view"]]
    found = interpret(made_of(encoder, words, scale=2.5), encoder)
    assert [[nearest.word for nearest in row] for row in found.prompts] == words
    assert all(nearest.cosine == pytest.approx(1, abs=1e-5) for row in found.prompts for nearest in row)


def test_the_means_words_are_ranked_by_cosine(encoder):
    distribution = made_of(encoder, [["cat"], ["cat"], ["dog"]])
    vocabulary, names = encoder.vocabulary()
    cosines = F.cosine_similarity(distribution.tokens.mean(0), vocabulary).tolist()
    expected = sorted(zip(cosines, names, strict=True), reverse=True)[:5]
    found = interpret(distribution, encoder).mean[0]
    assert [nearest.word for nearest in found] == [word for _, word in expected]
    assert [nearest.cosine for nearest in found] == pytest.approx([cosine for cosine, _ in expected], abs=1e-5)


def test_inflated_norms_are_warned_about_and_healthy_ones_are_not(encoder):
    vocabulary, _ = encoder.vocabulary()
    longest = float(vocabulary.norm(dim=-1).max())
    for factor, warns in ((INFLATED * 0.99, False), (INFLATED * 1.01, True)):
        tokens = F.normalize(torch.randn(3, 2, WIDTH), dim=-1) * longest * factor
        found = interpret(PromptDistribution(tokens, "low_rank", "ab"), encoder)
        assert found.inflation == pytest.approx(factor, rel=1e-4) and bool(found.warning) == warns


def test_tokens_of_another_width_are_refused(encoder):
    with pytest.raises(UserError, match=f"{WIDTH + 1} wide"):
        interpret(PromptDistribution(torch.ones(2, 2, WIDTH + 1), "low_rank", "ab"), encoder)


def test_an_inspection_is_the_encoded_prompts(encoder):
    distribution = made_of(encoder, [["cat", "night"], ["dog", "red"], ["cat", "view"]])
    found = inspect(distribution, encoder)
    features = encoder.encode(distribution.tokens, "a")
    sigma = features.hidden.double().numpy().std(0)
    torch.testing.assert_close(found.sigma.double(), torch.from_numpy((sigma**2).mean(-1) ** 0.5), atol=1e-6, rtol=0)
    assert found.sigma.shape == (LENGTH,) and found.end == 1 + 1 + 2
    assert found.sigma[:2].abs().max() < 1e-6  # the begin mark and the prefix are the same in all prompts
    expected = F.cosine_similarity(features.pooled[0], features.pooled[1], dim=0)
    torch.testing.assert_close(found.cosines[0, 1], expected)
    torch.testing.assert_close(found.cosines.diagonal(), torch.ones(3))


@pytest.mark.parametrize("words", [[["cat"]], [["cat", "red"], ["dog", "night"]]], ids=["one", "two"])
def test_the_plots_and_the_table_come_out(encoder, words, tmp_path, capsys):
    distribution = made_of(encoder, words, scale=50.0)
    found = inspect(distribution, encoder)
    save_plots(found, "cats", tmp_path / "plots.png")
    picture = Image.open(tmp_path / "plots.png").convert("L")
    assert picture.width > 1000 and picture.getextrema()[0] < 100
    print_inspection(distribution, found, "cats.safetensors")
    printed = capsys.readouterr()
    assert "cat 1.00" in printed.out and "low_rank" in printed.out
    assert printed.err.startswith("warning: the tokens are")
