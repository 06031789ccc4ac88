"""What the spawned processes of the tests run: importable, and nothing but files as a result."""

import json
from pathlib import Path

import torch

from dreamdist3d.mini.loop import run_stage
from dreamdist3d.mini.parallel import average, rank, world_size
from tests.mini.tiny import linear_stage


def averages(folder: Path) -> None:
    """Every process brings tensors of its own; what came out goes to `<rank>.json`."""
    generator = torch.Generator().manual_seed(rank())
    tensors = [torch.randn(shape, generator=generator) for shape in ((3, 2), (), (5,))]
    before = [t.tolist() for t in tensors]
    flags = [average(tensors, flag) for flag in (rank() == 1, False)]
    result = {"world": world_size(), "before": before, "after": [t.tolist() for t in tensors], "flags": flags}
    (folder / f"{rank()}.json").write_text(json.dumps(result))


def train(folder: Path) -> None:
    """The tiny linear stage; every process leaves the weights it ended with, and its log if it wrote one."""
    stage = linear_stage(steps=7)
    run_stage(stage, folder, seed=2)
    torch.save(stage.models["linear"].state_dict(), folder / f"weights-{rank()}.pt")


def fail(folder: Path) -> None:
    """The second process has a bad day."""
    if rank() == 1:
        raise ValueError("the second process fails")
