"""One inversion for each reference: a stack that is as many learnings."""

import pytest
import torch

from dreamdist3d.baselines import BaselineConfig
from dreamdist3d.baselines.each import EachLearner
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.learning.images import ReferenceLatents
from tests.prompts.tiny import TinyBackbone

CONFIG = BaselineConfig("textual-inversion-each", steps=6, batch=3, lr=1e-2, tokens=2, seed=5)


@pytest.fixture
def backbone(tmp_path):
    return TinyBackbone(tmp_path / "tokenizer")


@pytest.fixture
def latents():
    return ReferenceLatents(torch.randn(12, 2, 4, 4, generator=torch.Generator().manual_seed(0)), None)


def learned(backbone, latents, steps=6):
    learner = EachLearner(backbone, latents, CONFIG)
    losses = [learner.advance() for _ in range(steps)]
    return learner, losses


def test_a_stack_learns_what_a_learning_of_one_picture_does(backbone, latents):
    whole, _ = learned(backbone, latents)
    alone, _ = learned(backbone, ReferenceLatents(latents.mean[:1], None))
    assert torch.allclose(whole.tokens[:1], alone.tokens, atol=1e-5)
    others = ReferenceLatents(torch.cat([latents.mean[:1], latents.mean[1:] + 1]), None)
    assert torch.allclose(learned(backbone, others)[0].tokens[0], alone.tokens[0], atol=1e-5)
    start = EachLearner(backbone, latents, CONFIG).tokens
    assert (whole.tokens - start).abs().max() > 0.03


def test_the_loss_is_the_mean_of_the_prompts_own(backbone, latents):
    _, (together, *_) = learned(backbone, latents, 1)
    one_by_one = []
    for i in range(len(latents)):
        learner = EachLearner(backbone, latents, CONFIG)
        one_by_one.append(float(learner._loss([i]).detach()))
    assert together == pytest.approx(sum(one_by_one) / len(one_by_one), rel=1e-5)


def test_a_state_goes_on_bit_by_bit(backbone, latents):
    whole, losses = learned(backbone, latents)
    half, _ = learned(backbone, latents, 3)
    resumed = EachLearner(backbone, latents, CONFIG)
    resumed.load_state(half.state())
    assert [resumed.advance() for _ in range(3)] == losses[3:]
    assert torch.equal(resumed.tokens, whole.tokens)


def test_a_draw_is_one_of_the_prompts(backbone, latents):
    learner, _ = learned(backbone, latents, 1)
    source, encoder = learner.source({}), SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    hidden = encoder.encode(learner.tokens.detach()).hidden
    drawn = torch.stack([source.embed(source.draw(seed), encoder) for seed in range(60)])
    distance = (drawn[:, None] - hidden[None]).flatten(2).abs().amax(-1)
    assert distance.amin(1).max() < 1e-5 and len(set(distance.argmin(1).tolist())) > 8


def test_a_loss_that_is_not_finite_leaves_the_state(backbone, latents):
    learner, _ = learned(backbone, latents, 2)
    before = learner.tokens.detach().clone()
    broken = ReferenceLatents(latents.mean * float("inf"), None)
    other = EachLearner(backbone, broken, CONFIG)
    other.load_state(learner.state())
    with pytest.raises(FloatingPointError):
        other.advance()
    assert other.step == 2 and torch.equal(other.tokens, before)
