"""One training step of Algorithm 1, timed; with `--reference` beside the published one, step by step in turn.

    python benchmarks/random_model.py --size small --out outputs/small
    python benchmarks/learn_step.py --model outputs/small --images PICTURES --steps 10 --reference

Prints one JSON line at the end. Seconds are medians over the steps after the first; CPU seconds are the whole
process's. Peak memory is the whole process's too, so with `--reference` it is of both. `max_gradient_difference` is
that of the first step's gradients, made of the same random numbers, relative to the largest entry.
"""

import json
import os
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from dreamdist3d.backbones import Backbone, load_backbone
from dreamdist3d.prompts import LearnConfig, ReferenceImages, load_references
from dreamdist3d.prompts.learning.execution import Execution, prepared
from dreamdist3d.prompts.learning.images import encode_references
from dreamdist3d.prompts.learning.learner import Learner
from naive_step import NaiveStep


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        images: a folder of pictures.
        model: mini, sd21, mvdream or a local folder in the diffusers layout.
        k: prompts.
        m: tokens in each.
        s: draws per image.
        batch: images per step.
        steps: measured steps (at least 2), after one that is not.
        threads: of torch.
        size: pixels; left out, the model's own.
        covariance: of the draws.
        objective: of the learning; `coupled` takes S x B pictures of one draw each, as many samples of the UNet.
        precision: auto, fp32 or bf16.
        compile: compile the UNet.
        checkpointing: recompute activations in the backward pass.
        device: where to compute.
        reference: measure the published step too.
    """

    images: Path
    model: str = "mini"
    k: int = 32
    m: int = 4
    s: int = 4
    batch: int = 4
    steps: int = 10
    threads: int = os.cpu_count() or 1
    size: int | None = None
    covariance: Literal["low_rank", "diagonal"] = "low_rank"
    objective: Literal["coupled", "paper"] = "paper"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    checkpointing: bool = False
    device: Literal["cpu", "cuda"] = "cuda" if torch.cuda.is_available() else "cpu"
    reference: bool = False


class Stopwatch:
    """Wall and CPU seconds of whatever it is wrapped around, by name."""

    def __init__(self, device: str) -> None:
        self._wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.cpu: dict[str, list[float]] = defaultdict(list)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, noting under `name` how long each call takes."""

        @wraps(function)
        def measured(*arguments: Any, **named: Any) -> Any:
            self._wait()
            wall, cpu = time.perf_counter(), time.process_time()
            result = function(*arguments, **named)
            self._wait()
            self.wall[name].append(time.perf_counter() - wall)
            self.cpu[name].append(time.process_time() - cpu)
            return result

        return measured


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(options.threads)
    backbone = load_backbone(options.model, options.device)
    references = load_references(options.images, options.size or backbone.image_size)
    with prepared(backbone, Execution(options.precision, options.compile, options.checkpointing)):
        print(json.dumps(measure(options, backbone, references)))


def measure(options: Options, backbone: Backbone, references: ReferenceImages) -> dict[str, Any]:
    """All figures; the two steps alternate, so that whatever else the machine does is shared by both."""
    samples, batch = (1, options.s * options.batch) if options.objective == "coupled" else (options.s, options.batch)
    config = LearnConfig(options.objective, options.k, options.m, samples, batch, covariance=options.covariance)
    watch = Stopwatch(options.device)
    # A copy, so that only our own calls of the UNet are counted as parts.
    learner = Learner(own := replace(backbone), encode_references(backbone, references.pixels), config)
    steps, differences = [watch.timed("step", learner.advance)], {}
    if options.reference:
        naive = NaiveStep(backbone, references.paths, references.pixels.shape[-1], config, learner.tokens)
        differences = {"max_gradient_difference": gradient_difference(learner, naive)}
        steps.append(watch.timed("reference", naive.advance))
    watch_parts(watch, learner, own)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(options.steps + 1):
        for step in steps:
            step()
    return {"model": backbone.name, "threads": options.threads} | figures(watch, options) | differences


def gradient_difference(learner: Learner, naive: NaiveStep) -> float:
    """Largest difference of the tokens' gradients for the same random numbers, over the largest entry."""
    learner._backward(learner.draws())
    (expected,) = torch.autograd.grad(naive.loss(), naive.tokens)
    return float((learner.tokens.grad - expected).abs().max() / expected.abs().max())


def watch_parts(watch: Stopwatch, learner: Learner, backbone: Backbone) -> None:
    """Note what the parts of our step take."""
    for part, owner, method in (
        ("data", learner, "draws"),
        ("text", learner._encoder, "encode"),
        ("unet", backbone, "predict"),
        ("optimizer", learner._optimizer, "step"),
    ):
        setattr(owner, method, watch.timed(part, getattr(owner, method)))


def figures(watch: Stopwatch, options: Options) -> dict[str, Any]:
    """What the stopwatch and the system counted, without the first step."""
    wall, cpu = ({name: taken[1:] for name, taken in kind.items()} for kind in (watch.wall, watch.cpu))
    deciles = statistics.quantiles(wall["step"], n=10, method="inclusive")
    # What no part accounts for is the backward pass, and next to it nothing.
    parts = {name: wall[name] for name in ("data", "text", "unet", "optimizer")}
    parts["backward"] = [whole - sum(rest) for whole, *rest in zip(wall["step"], *parts.values(), strict=True)]
    result = {
        "median_s_per_step": statistics.median(wall["step"]),
        "cpu_median_s_per_step": statistics.median(cpu["step"]),
        "p10": deciles[0],
        "p90": deciles[-1],
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "peak_gpu_mb": torch.cuda.max_memory_allocated() // 2**20 if options.device == "cuda" else None,
        "breakdown_median_s": {name: statistics.median(taken) for name, taken in parts.items()},
    }
    return result | (against(wall, cpu) if options.reference else {})


def against(wall: dict[str, list[float]], cpu: dict[str, list[float]]) -> dict[str, float]:
    """How many times longer the published step takes."""
    published = statistics.median(wall["reference"])
    return {
        "reference_median_s_per_step": published,
        "ratio": published / statistics.median(wall["step"]),
        "cpu_ratio": statistics.median(cpu["reference"]) / statistics.median(cpu["step"]),
    }


if __name__ == "__main__":
    main()
