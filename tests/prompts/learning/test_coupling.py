"""Which picture belongs to which draw, against the definition in float64, at its limits, and what it is for."""

import math
from collections import Counter

import pytest
import torch

from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.learning.coupling import LIMIT, Coupling, pairs_of
from dreamdist3d.prompts.learning.images import encode_references
from dreamdist3d.prompts.learning.learner import Learner
from dreamdist3d.prompts.learning.objective import text_of
from dreamdist3d.prompts.moments import Moments
from tests.prompts.tiny import CONFIG

SIZES = [(1, 1), (1, 5), (4, 1), (3, 7), (5, 5), (8, 5), (32, 20)]


def pictures_of(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, 3, 3, generator=generator, dtype=torch.float64) + 3


def by_definition(pictures, prompts, omega):
    """The nearest picture to mean(z) + sum_k omega_k (z_k - mean(z)) / sqrt(K - 1), one draw at a time."""
    own = [[] for _ in range(prompts)]
    for number in range(max(prompts, len(pictures))):
        own[number % prompts].append(pictures[number % len(pictures)])
    z = torch.stack([torch.stack(found).mean(0) for found in own])
    nearest = []
    for one in omega:
        mix = z.mean(0) + sum(w * (z_k - z.mean(0)) for w, z_k in zip(one, z, strict=True)) / max(1, prompts - 1) ** 0.5
        nearest.append(int(torch.stack([(mix - picture).norm() for picture in pictures]).argmin()))
    return nearest


@pytest.mark.parametrize("prompts,count", SIZES)
def test_the_nearest_picture_is_the_definitions(prompts, count):
    pictures = pictures_of(count)
    omega = torch.randn(50, prompts, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert Coupling(pictures, prompts).nearest(omega).tolist() == by_definition(pictures, prompts, omega)


def test_a_prompt_alone_is_nearest_to_its_own_picture():
    alone = math.sqrt(7) * torch.eye(8)
    assert Coupling(pictures_of(8), 8).nearest(alone).tolist() == list(range(8))
    assert Coupling(pictures_of(5), 8).nearest(alone).tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


@pytest.mark.parametrize("prompts,count", SIZES)
def test_nobody_is_left_out(prompts, count):
    pairs = pairs_of(prompts, count)
    for column, size in ((0, prompts), (1, count)):
        seen = Counter(pairs[:, column].tolist())
        assert set(seen) == set(range(size)) and max(seen.values()) - min(seen.values()) <= 1
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs) == max(prompts, count)


@pytest.mark.parametrize("prompts,count", SIZES[2:])
@pytest.mark.parametrize("batch", [1, 5, 8])
def test_half_of_the_samples_are_prompts_with_their_own_pictures(prompts, count, batch):
    coupling, pairs = Coupling(pictures_of(count), prompts), pairs_of(prompts, count)
    steps = 4 * len(pairs)
    alone = Counter()
    for step in range(steps):
        chosen, omega, is_alone = coupling.draw(batch, step, seed=3)
        assert len(chosen) == batch and omega.shape == (batch, 1, prompts)
        for picture, one, by_itself in zip(chosen, omega[:, 0], is_alone, strict=True):
            assert by_itself == ((one != 0).sum() == 1)
            if by_itself:
                assert float(one.max()) == pytest.approx(math.sqrt(prompts - 1))
                alone[int(one.argmax()), picture] += 1
            else:
                assert picture == coupling.nearest(one[None]).item()
    # Every pair of prompt and picture equally often.
    assert set(alone) == {tuple(pair) for pair in pairs.tolist()} and set(alone.values()) == {2 * batch}


def test_a_step_depends_on_seed_and_number_alone():
    coupling = Coupling(pictures_of(5), 8)
    drawn = [coupling.draw(8, step, seed) for step, seed in ((3, 0), (3, 0), (4, 0), (3, 1))]
    assert drawn[0][0] == drawn[1][0] and torch.equal(drawn[0][1], drawn[1][1])
    assert not any(torch.equal(drawn[0][1], other) for _, other, _ in drawn[2:])


def test_one_prompt_sees_all_pictures_equally_often():
    coupling = Coupling(pictures_of(5), 1)
    seen = Counter(picture for step in range(5) for picture in coupling.draw(4, step, 0)[0])
    assert seen == dict.fromkeys(range(5), 4)


def test_a_step_of_the_learner_is_the_definition(backbone, references):
    """The UNet sees h_k for a prompt alone, and mu + sum_k omega_k (h_k - mu) / sqrt(K - 1) otherwise."""
    learner = Learner(backbone, encode_references(backbone, references.pixels), CONFIG)
    draws = learner.draws()
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    h = encoder.encode(learner.tokens.detach(), CONFIG.prefix).hidden
    text = text_of(Moments.of(h, "low_rank", limit=LIMIT), draws)[:, 0]
    z, mu = encode_references(backbone, references.pixels).mean, h.mean(0)
    pairs = pairs_of(CONFIG.prompts, len(z)).tolist()
    for number, (latents, omega) in enumerate(zip(draws.latents, draws.omega[:, 0], strict=True)):
        picture = int((z - latents).flatten(1).norm(dim=1).argmin())
        if number < CONFIG.batch // 2:
            prompt = int(omega.argmax())
            assert [prompt, picture] in pairs
            expected = h[prompt]
        else:
            assert [picture] == by_definition(z.double(), CONFIG.prompts, omega[None].double())
            deviation = sum(w * (h_k - mu) for w, h_k in zip(omega, h, strict=True)) / (CONFIG.prompts - 1) ** 0.5
            expected = mu + deviation * min(1.0, float(sorted((h_k - mu).norm() for h_k in h)[1] / deviation.norm()))
        torch.testing.assert_close(text[number], expected, atol=1e-5, rtol=1e-5)


def test_coupling_rewards_the_spread_that_independent_pairs_punish():
    """Where picture i's loss is the squared distance to z_i, spread lowers the coupled mean and raises the other."""
    z = pictures_of(20).flatten(1)
    coupling, mu = Coupling(z, 20), z.mean(0)
    omega = torch.randn(4000, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    deviation = omega @ (z - mu) / math.sqrt(19)
    belongs, anyone = z[coupling.nearest(omega)], z[torch.arange(4000) % 20]
    coupled, independent = (
        [float((mu + gamma * deviation - met).square().sum(1).mean()) for gamma in (0.0, 0.25, 0.5)]
        for met in (belongs, anyone)
    )
    assert coupled[0] > coupled[1] > coupled[2]
    assert independent[0] < independent[1] < independent[2]
