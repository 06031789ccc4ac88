"""Learning that begins from a distribution instead of random tokens."""

from dataclasses import asdict, replace

import pytest
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution, config_from, learn
from dreamdist3d.prompts.learning.images import CONTENT_ORDER
from tests.prompts.tiny import CONFIG, WIDTH

STILL = replace(CONFIG, steps=1, lr=1e-12)


@pytest.fixture
def start(backbone):
    tokens = torch.randn(4, 3, WIDTH, generator=torch.Generator().manual_seed(9)) * 0.02
    return PromptDistribution(tokens, "low_rank", backbone.fingerprint, "a photo of", "at night")


def test_it_begins_where_the_start_is(backbone, references, out, start):
    config = config_from(start, STILL)
    assert (config.prompts, config.tokens, config.prefix, config.suffix) == (4, 3, "a photo of", "at night")
    made = learn(backbone, references, config, out, start=start)
    torch.testing.assert_close(made.tokens, start.tokens, atol=1e-9, rtol=0)
    assert made.metadata["begun_from_sha256"] == start.content_hash


def test_a_start_of_an_apprentice_keeps_every_prompt_with_its_picture(backbone, references, out, start, monkeypatch):
    from dreamdist3d.prompts.learning import learn as module

    encoded = []
    real = module.encode_references
    monkeypatch.setattr(module, "encode_references", lambda b, pixels: encoded.append(pixels) or real(b, pixels))
    instant = replace(start, metadata={"order": CONTENT_ORDER})
    for begin in (start, instant):
        learn(backbone, references, config_from(begin, STILL), out, start=begin)
    assert torch.equal(encoded[0], references.pixels)
    assert torch.equal(encoded[1], references.in_content_order().pixels)
    assert not torch.equal(encoded[0], encoded[1])


def test_content_order_does_not_depend_on_the_order(references):
    order = torch.randperm(5, generator=torch.Generator().manual_seed(1)).tolist()
    other = replace(references, pixels=references.pixels[order], paths=[references.paths[i] for i in order])
    one, two = references.in_content_order(), other.in_content_order()
    assert torch.equal(one.pixels, two.pixels) and one.paths == two.paths
    assert one.content_hash == two.content_hash


def test_a_start_that_does_not_fit_is_refused(backbone, references, out, start):
    with pytest.raises(UserError, match="4 prompts of 3 tokens, not 3 of 2"):
        learn(backbone, references, STILL, out, start=start)
    with pytest.raises(UserError, match="another text encoder"):
        other = replace(start, encoder_fingerprint="fp16-0")
        learn(backbone, references, config_from(start, STILL), out, start=other)


def test_a_checkpoint_of_another_start_is_refused(backbone, references, out, start):
    from dreamdist3d.prompts.learning.checkpoint import Checkpoint

    config = config_from(start, STILL)
    Checkpoint(out, asdict(config), references.content_hash, backbone).save({"step": 0})
    with pytest.raises(UserError, match="what it began from"):
        learn(backbone, references, config, out, start=start)
