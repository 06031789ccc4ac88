"""Batches of draws, and the choice of draws that lie far apart."""

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import FixedMoments, PromptComposition, SoftPromptEncoder
from dreamdist3d.prompts.batches import CANDIDATES, draw_batch, embed_draws, farthest, pooled_features
from tests.prompts.test_composition import CATS, DOGS
from tests.prompts.tiny import LENGTH, WIDTH, tiny_text_encoder, tiny_tokenizer


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    tokenizer = tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return SoftPromptEncoder(tokenizer, tiny_text_encoder(tokenizer))


def smallest_distance(features, rows):
    unit = F.normalize(features.double(), dim=-1)
    return min(float((unit[a] - unit[b]).norm()) for a, b in combinations(rows, 2))


def test_independent_draws_can_be_drawn_again_alone():
    assert draw_batch(CATS, 3, seed=7, gamma=1.5) == [CATS.draw(s, 1.5) for s in (7, 8, 9)]


def test_antithetic_draws_come_in_pairs_whose_mean_is_the_mean(encoder):
    draws = draw_batch(CATS, 6, seed=2, how="antithetic", suffix="at night")
    assert [(d.seed, d.antithetic) for d in draws] == [
        (2, False),
        (2, True),
        (3, False),
        (3, True),
        (4, False),
        (4, True),
    ]
    mean = torch.stack([CATS.embed(d, encoder) for d in draws]).mean(0)
    torch.testing.assert_close(mean, CATS.moments(encoder, suffix="at night").mu, atol=1e-6, rtol=0)
    assert len(draw_batch(CATS, 5, how="antithetic")) == 5


@pytest.mark.parametrize("source", [CATS, PromptComposition((CATS, DOGS), kind="mixture")], ids=["one", "mixture"])
def test_spread_draws_lie_farther_apart_than_independent_ones(source, encoder):
    for seed in (0, 1000, 2000):
        spread = draw_batch(source, 6, seed, "spread", encoder)
        assert len(set(spread)) == 6 and all(seed <= d.seed < seed + 6 * CANDIDATES for d in spread)
        candidates = draw_batch(source, 6 * CANDIDATES, seed)
        features = pooled_features(source, candidates, encoder)
        chosen = smallest_distance(features, [candidates.index(d) for d in spread])
        assert chosen > 1.2 * smallest_distance(features, range(6))


def test_pooled_features_are_the_draws_at_their_end_mark(encoder):
    draws = [CATS.draw(0), CATS.draw(1, suffix="at night")]
    expected = [CATS.embed(draws[0], encoder)[1 + 3 + 2], CATS.embed(draws[1], encoder)[1 + 3 + 2 + 2]]
    torch.testing.assert_close(pooled_features(CATS, draws, encoder), torch.stack(expected))


def test_moments_without_an_end_mark_are_compared_whole(encoder):
    generator = torch.Generator().manual_seed(0)
    mu, sigma = torch.randn(LENGTH, WIDTH, generator=generator), torch.rand(LENGTH, WIDTH, generator=generator)
    source = FixedMoments(mu, sigma, "f" * 64)
    draws = draw_batch(source, 3, encoder=encoder)
    expected = torch.stack([source.embed(draw, encoder).flatten() for draw in draws])
    torch.testing.assert_close(pooled_features(source, draws, encoder), expected)
    assert len(draw_batch(source, 3, how="spread", encoder=encoder)) == 3


def test_draws_that_share_a_gaussian_share_its_encoding(encoder, monkeypatch):
    mixture = PromptComposition((CATS, DOGS), kind="mixture")
    draws = [*draw_batch(CATS, 5), *draw_batch(CATS, 5, suffix="at night")]
    expected = torch.stack([CATS.embed(draw, encoder) for draw in draws])
    encoded = []
    encode = SoftPromptEncoder.encode
    monkeypatch.setattr(SoftPromptEncoder, "encode", lambda *given: encoded.append(1) or encode(*given))
    torch.testing.assert_close(embed_draws(CATS, draws, encoder), expected)
    assert len(encoded) == 2
    embed_draws(mixture, draw_batch(mixture, 20), encoder)
    assert len(encoded) == 4


@pytest.mark.parametrize("seed", range(12))
def test_the_chosen_rows_are_at_least_half_as_far_apart_as_the_best(seed):
    features = torch.randn(9, 3, generator=torch.Generator().manual_seed(seed))
    chosen = farthest(features, 4)
    assert chosen == sorted(set(chosen)) and len(chosen) == 4
    best = max(smallest_distance(features, rows) for rows in combinations(range(9), 4))
    assert smallest_distance(features, chosen) >= best / 2


def test_most_choices_are_the_very_best():
    hits = 0
    for seed in range(30):
        features = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
        best = max(smallest_distance(features, rows) for rows in combinations(range(8), 3))
        hits += abs(smallest_distance(features, farthest(features, 3)) - best) < 1e-12
    assert hits >= 20


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_up_to_all_rows_can_be_chosen(count):
    assert len(set(farthest(torch.eye(5), count))) == count


def test_equal_rows_are_no_trap():
    assert farthest(torch.ones(4, 2), 3) == sorted(farthest(torch.ones(4, 2), 3))


def test_an_unknown_batch_is_one_line():
    with pytest.raises(UserError, match="'random' is unknown"):
        draw_batch(CATS, 2, how="random")
