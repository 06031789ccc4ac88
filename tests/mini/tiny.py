"""A stage of a linear model, and a small world of arrays."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dreamdist3d.mini.dataset import MiniDataset
from dreamdist3d.mini.loop import Stage


def linear_stage(steps: int = 10, act: Callable[[int, nn.Module], float | None] = lambda step, model: None, **settings):
    """Fit y = 2 x1 - x2 by a linear model and a second, slower one; `act` is called before every step.

    What `act` returns, unless None, is multiplied into the loss.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models = nn.ModuleDict({"linear": nn.Linear(2, 1), "slow": nn.Linear(2, 1)})
    calls = iter(range(10**6))

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        factor = act(next(calls), models)
        x = torch.randn(16, 2, generator=generator)
        error = (models["linear"](x) + models["slow"](x) - (2 * x[:, :1] - x[:, 1:])).square().mean()
        return {"loss": error if factor is None else error * factor, "error": error}

    settings = {"lr": 0.05, "ema_decay": 0.9, "warmup": 3, "lr_scale": {"slow": 0.25}} | settings
    return Stage(name="tiny", models=models, losses={"loss": (1.0, loss)}, steps=steps, **settings)


def tiny_world(objects: int = 12, sets: int = 2) -> MiniDataset:
    """Random renders; every object has its own captions, cameras and azimuths, by which it is known again."""
    generator = torch.Generator().manual_seed(0)
    renders = torch.randint(0, 256, (objects, sets * 4, 64, 64, 4), generator=generator, dtype=torch.uint8)
    cameras = torch.randn(objects, sets * 4, 16, generator=generator)
    azimuths = torch.rand(objects, sets * 4, generator=generator) * 360
    words = ("red", "blue", "green", "white")
    families = ("mug", "car", "tree")
    truth = [
        {"captions": [f"a {words[i % 4]} {families[i % 3]} with a {c} stem" for c in ("pink", "teal", "gray")]}
        for i in range(objects)
    ]
    for known in truth:
        known["captions"].append("a mug")
    return MiniDataset(renders.numpy(), cameras, azimuths, truth)
