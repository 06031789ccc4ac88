"""Normal numbers that are pinned bit for bit, and are normal."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from dreamdist3d.prompts.normal import choose, standard_normal


def philox_words(seed, stream, count):
    """Philox 4x64 with ten rounds, in plain integers (Salmon et al. 2011, section 3.2); counters from 1."""
    mask, words = 2**64 - 1, []
    for counter in range(1, -(-count // 4) + 1):
        c, k = [counter, 0, 0, 0], [seed, stream]
        for _ in range(10):
            high0, low0 = divmod(c[0] * 0xD2E7470EE14C6C93, 2**64)
            high1, low1 = divmod(c[2] * 0xCA5A826395121157, 2**64)
            c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
            k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
        words += c
    return words[:count]


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_every_number_is_the_inverse_normal_of_philoxs_bits(seed):
    expected = [stats.norm.ppf(((word >> 11) + 0.5) / 2**53) for word in philox_words(seed, 0, 9)]
    np.testing.assert_array_equal(standard_normal(seed, (3, 3)).flatten(), np.float32(expected))


def test_a_longer_draw_begins_like_a_shorter_one():
    assert torch.equal(standard_normal(5, (40,))[:7], standard_normal(5, (7,)))


def test_the_numbers_are_standard_normal_and_neighbouring_seeds_are_strangers():
    rows = torch.stack([standard_normal(seed, (2000,)) for seed in range(50)])
    assert stats.kstest(rows.flatten().numpy(), "norm").pvalue > 0.01
    correlations = torch.corrcoef(rows).fill_diagonal_(0)
    assert correlations.abs().max() < 5 / math.sqrt(2000)


def test_choices_have_their_weights_and_never_weight_zero():
    chosen = np.bincount([choose(seed, (0.0, 0.3, 0.7, 0.0)) for seed in range(4000)], minlength=4)
    assert chosen[0] == chosen[3] == 0
    assert abs(chosen[1] / 4000 - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)
    assert stats.norm.cdf(standard_normal(3, (1,)))[0] != philox_words(3, 1, 1)[0] / 2**64
