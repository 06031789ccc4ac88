"""Standard normal numbers that are the same on every machine, device and library version."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

# A Philox key is two words: the seed, and which of its independent streams.
_OMEGA, _CHOICE = 0, 1
_TO_UNIT = 2.0**-53


def standard_normal(seed: int, shape: Sequence[int]) -> Tensor:
    """float32 numbers of `shape` on the CPU.

    torch's own generator takes another path below 16 numbers and another logarithm where the processor
    has AVX2, so its normals differ between machines. Here the bits are Philox's (Salmon et al. 2011), which
    numpy keeps fixed, and the inverse normal distribution is evaluated in double precision.
    """
    return torch.from_numpy(ndtri(_uniform(seed, _OMEGA, int(np.prod(shape)))).astype(np.float32).reshape(shape))


def choose(seed: int, weights: Sequence[float]) -> int:
    """An index with probability `weights` (sum 1), from a stream independent of `standard_normal`'s."""
    position = np.searchsorted(np.cumsum(weights), _uniform(seed, _CHOICE, 1)[0], side="right")
    # Rounding may leave the sum a little below 1, and an index of weight 0 is never to be chosen.
    return min(int(position), max(i for i, weight in enumerate(weights) if weight > 0))


def _uniform(seed: int, stream: int, count: int) -> np.ndarray:
    """Doubles strictly between 0 and 1: the middles of 2^53 equal cells."""
    raw = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)).random_raw(count)
    return ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * _TO_UNIT
