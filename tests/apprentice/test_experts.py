"""A stack of experts learns what each would learn alone."""

from dataclasses import replace

import pytest
import torch

from dreamdist3d.apprentice.experts import Experts, learn_experts
from dreamdist3d.prompts.learning.images import ReferenceLatents
from dreamdist3d.prompts.learning.learner import Learner
from tests.prompts.tiny import CONFIG, PAPER

STEPS = 3


@pytest.mark.parametrize("config", [CONFIG, PAPER, replace(CONFIG, prompts=1)], ids=["coupled", "paper", "one prompt"])
def test_a_stack_learns_what_each_learns_alone(backbone, bank, config):
    config = replace(config, steps=STEPS)
    clusters = [bank.latents(bank.clusters[i].pictures) for i in (0, 1)]
    stacked = learn_experts(backbone, clusters, config)
    for latents, expert in zip(clusters, stacked, strict=True):
        alone = Learner(backbone, ReferenceLatents(latents, None), config)
        for _ in range(STEPS):
            alone.advance()
        torch.testing.assert_close(expert.tokens, alone.tokens.detach(), atol=2e-5, rtol=0)
    assert not torch.allclose(stacked[0].tokens, stacked[1].tokens, atol=1e-3)


def test_a_stack_begins_from_what_it_is_given(backbone, bank):
    start = torch.full((3, 2, 16), 0.01)
    experts = Experts(backbone, [bank.latents(range(4))], CONFIG, [start])
    assert torch.equal(experts.tokens[0].detach(), start)
