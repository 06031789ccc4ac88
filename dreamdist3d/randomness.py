"""Random numbers that depend on a seed and a step number alone, so that work can stop and go on anywhere."""

import hashlib

import torch


def generator_for(seed: int, stream: str, index: int = 0) -> torch.Generator:
    """A CPU generator for the `index`-th item of a named stream.

    Hashed, because torch's generator reads only 32 bits of a seed and neighbouring sums would collide.
    """
    digest = hashlib.sha256(f"{stream}:{seed}:{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
