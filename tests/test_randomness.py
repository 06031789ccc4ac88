"""Generators by seed, stream and step."""

import torch

from dreamdist3d.randomness import generator_for


def test_streams_seeds_and_steps_have_numbers_of_their_own():
    keys = [(seed, stream, step) for seed in (0, 1, 2**32) for stream in ("step", "tokens") for step in (0, 1)]
    first = {float(torch.rand(1, generator=generator_for(*key))) for key in keys}
    assert len(first) == len(keys)
    assert torch.rand(1, generator=generator_for(3, "step", 7)) == torch.rand(1, generator=generator_for(3, "step", 7))
