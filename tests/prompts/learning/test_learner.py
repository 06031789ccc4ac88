"""Rounds through short and long reference sets."""

from collections import Counter

import pytest

from dreamdist3d.prompts.learning.coupling import shuffled_rounds


@pytest.mark.parametrize("count", [1, 3, 5, 16])
@pytest.mark.parametrize("batch", [1, 4, 16])
def test_every_round_shows_every_image_once(count, batch):
    steps = 2 * count
    stream = [i for n in range(steps) for i in shuffled_rounds(count, n * batch, (n + 1) * batch, seed=4)]
    assert len(stream) == steps * batch
    for start in range(0, len(stream) - count + 1, count):
        assert Counter(stream[start : start + count]) == Counter(range(count))


def test_rounds_are_shuffled_anew_and_by_the_seed():
    rounds = [tuple(shuffled_rounds(12, 12 * n, 12 * n + 12, seed)) for seed in (0, 1) for n in range(3)]
    assert len(set(rounds)) == 6
