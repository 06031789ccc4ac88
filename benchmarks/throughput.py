"""Assets per hour of one process that lifts B assets in step, for several B.

    python benchmarks/throughput.py                                         # the miniature, on this machine
    python benchmarks/throughput.py --config dreamdist3d/mvdream.yaml --backbone outputs/mvdream --sizes 1 2 4

Every size walks the whole schedule, shortened to `--steps` steps, in turn and `--rounds` times, so that all see the
same machine. Views and meshes at the end are left out: they are the same work for every B. Prints one JSON line for
each size; `speedup` is the ratio of assets per hour to B = 1.
"""

import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from dreamdist3d.backbones import Backbone
from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.guidance import MultiviewGuidance, guide_together
from dreamdist3d.lift.optimize import Lift, lift_together
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.runs.prepare import open_backbone


@dataclass(frozen=True)
class Options:
    """What to time.

    Attributes:
        config: the configuration whose schedule is walked.
        backbone: in place of the configured one; benchmarks/random_model.py makes one of full size.
        sizes: values of B.
        steps: of every lift.
        rounds: lifts of every size.
        threads: of torch; 0 leaves them.
    """

    config: str = "dreamdist3d/mini.yaml"
    backbone: str | None = None
    sizes: tuple[int, ...] = (1, 2, 4, 8)
    steps: int = 20
    rounds: int = 3
    threads: int = 0


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.threads:
        torch.set_num_threads(options.threads)
    overrides = [f"system.backbone={options.backbone}"] if options.backbone else []
    config = load_config(options.config, overrides)
    backbone = open_backbone(config.system)
    seconds: dict[int, list[float]] = {size: [] for size in options.sizes}
    peaks: dict[int, float] = {}
    for _ in range(options.rounds):
        for size in options.sizes:
            taken, peaks[size] = timed(config, backbone, size, options.steps)
            seconds[size].append(taken)
    hourly = {size: 3600 * size / (statistics.median(taken) / options.steps * config.trainer.max_steps)
              for size, taken in seconds.items()}  # fmt: skip
    for size in options.sizes:
        print(json.dumps({
            "assets_in_step": size,
            "s_per_step": round(statistics.median(seconds[size]) / options.steps, 4),
            "lifts_per_hour": round(hourly[size], 2),
            "speedup": round(hourly[size] / hourly[options.sizes[0]], 3),
            "peak_gpu_gib": peaks[size],
            "device": str(backbone.device),
        }))  # fmt: skip


def timed(config: RunConfig, backbone: Backbone, size: int, steps: int) -> tuple[float, float]:
    """Seconds of a lift of `size` assets, and the GPU's peak memory in GiB."""
    lift_config = replace(config.lift(), max_steps=steps, checkpoint_every=10 * steps, log_every=10 * steps)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    with torch.no_grad():
        texts = encoder.encode_text([f"{number} mushrooms" for number in range(size)] + [""]).hidden
    guidances = [MultiviewGuidance(backbone, text, texts[-1], config.system.guidance) for text in texts[:-1]]
    on_gpu = backbone.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        assets = [Lift(guidance, Path(folder) / str(i), seed=i) for i, guidance in enumerate(guidances)]
        began = time.perf_counter()
        lift_together(lift_config, assets, guide_together, str(backbone.device))
        if on_gpu:
            torch.cuda.synchronize()
        taken = time.perf_counter() - began
    return taken, round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else 0.0


if __name__ == "__main__":
    main()
