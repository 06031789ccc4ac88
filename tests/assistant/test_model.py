"""The model of CAFE's section 3.1: where pictures enter, where what is wanted comes out, what the loss looks at."""

import pytest
import torch
import torch.nn.functional as F

from dreamdist3d.assistant.model import IGNORED, prompt_of
from tests.assistant.tiny import FEATURES, WANTED, tiny_model

PROMPTS = [prompt_of("make it red"), prompt_of("a bit darker please", "make it red <do> color red")]
ANSWERS = ["<see> red mug <edit> <do> color red <say> here .", "<see> red mug <refuse> <say> no ."]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def features():
    return torch.randn(2, 3, FEATURES, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_loss_is_the_mean_over_the_answers_words(model, features):
    loss, _ = model(features, model.batch(PROMPTS, ANSWERS))
    terms = []
    for i in range(2):  # one by one, without padding, mask or the token at the end
        one = model.batch(PROMPTS[i : i + 1], ANSWERS[i : i + 1])
        words = model.llm.get_input_embeddings()(one.ids)
        inputs = torch.cat([model.project(features[i : i + 1]), words], dim=1)
        logits = model.llm(inputs_embeds=inputs).logits[0, features.shape[1] - 1 : -1]
        terms.append(F.cross_entropy(logits, one.labels[0], ignore_index=IGNORED, reduction="none"))
        assert int((one.labels != IGNORED).sum()) == len(ANSWERS[i].split()) + 1  # the words and the end
    kept = torch.cat(terms)
    torch.testing.assert_close(loss, kept[kept != 0].mean())


@torch.no_grad()
def test_the_wanted_embedding_is_read_at_the_token_after_all_text(model, features):
    batch = model.batch(PROMPTS, ANSWERS)
    _, wanted = model(features, batch)
    assert wanted.shape == (2, WANTED)
    for i in range(2):
        alone = model.wanted(features[i], PROMPTS[i : i + 1], ANSWERS[i : i + 1])
        torch.testing.assert_close(wanted[i : i + 1], alone, atol=1e-5, rtol=1e-4)


def test_the_wanted_embedding_depends_on_picture_words_and_token(model, features):
    inputs = features.clone().requires_grad_()
    _, wanted = model(inputs, model.batch(PROMPTS, ANSWERS))
    wanted[0].sum().backward()
    assert inputs.grad[0].abs().sum() > 0 and inputs.grad[1].abs().sum() == 0
    assert model.token.grad.abs().sum() > 0
    model.zero_grad()
    with torch.no_grad():
        other = model.wanted(features[0], PROMPTS[:1], [ANSWERS[0].replace("color red", "color blue")])
    assert not torch.allclose(other, wanted[:1], atol=1e-6)


def test_untaught_answers_are_no_labels(model):
    batch = model.batch(PROMPTS, ANSWERS, [True, False])
    assert (batch.labels[1] == IGNORED).all() and (batch.labels[0] != IGNORED).any()


def test_an_answer_is_the_most_likely_one_and_ends(model, features):
    first, second = (model.answer(features[0], PROMPTS[0], most=7) for _ in range(2))
    assert first == second and 0 < len(first.split()) <= 7
    whole = model.answer(features[0], PROMPTS[0], " ".join(first.split()[:3]), most=4)
    assert whole == first
    row = model.batch(PROMPTS[:1], [first])
    prompt = int((row.labels[0] == IGNORED).sum())
    words = model.llm.get_input_embeddings()(row.ids[:, :prompt])
    with torch.no_grad():
        logits = model.llm(inputs_embeds=torch.cat([model.project(features[:1]), words], dim=1)).logits
    assert model.tokenizer.decode([int(logits[0, -1].argmax())]) == first.split()[0]
