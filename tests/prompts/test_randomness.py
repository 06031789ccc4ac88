"""Randomness by (seed, step), and rounds through short and long reference sets."""

from collections import Counter

import pytest
import torch

from dreamdist3d.prompts.randomness import batch_indices, generator_for


@pytest.mark.parametrize("count", [1, 3, 5, 16])
@pytest.mark.parametrize("batch", [1, 4, 16])
def test_every_round_shows_every_image_once(count, batch):
    steps = 2 * count
    stream = [i for step in range(steps) for i in batch_indices(count, batch, step, seed=4)]
    assert len(stream) == steps * batch
    for start in range(0, len(stream) - count + 1, count):
        assert Counter(stream[start : start + count]) == Counter(range(count))


def test_rounds_are_shuffled_anew_and_by_the_seed():
    rounds = [tuple(batch_indices(12, 12, step, seed)) for seed in (0, 1) for step in range(3)]
    assert len(set(rounds)) == 6


def test_streams_seeds_and_steps_have_numbers_of_their_own():
    keys = [(seed, stream, step) for seed in (0, 1, 2**32) for stream in ("step", "tokens") for step in (0, 1)]
    first = {float(torch.rand(1, generator=generator_for(*key))) for key in keys}
    assert len(first) == len(keys)
    assert torch.rand(1, generator=generator_for(3, "step", 7)) == torch.rand(1, generator=generator_for(3, "step", 7))
