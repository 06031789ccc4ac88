"""Assets per hour of one process that lifts B assets in step, for several B.

    python benchmarks/throughput.py --kind views                            # the miniature, on this machine
    python benchmarks/throughput.py --config dreamdist3d/mvdream.yaml --backbone outputs/mvdream --sizes 1 2 4

Every size walks the whole schedule, in turn and `--rounds` times, so that all see the same machine; `--steps` shortens
it, which overstates what comes late. Stills and meshes at the end are left out: they are the same work for every B.
Prints one JSON line for each size; `speedup` is the ratio of assets per hour to B = 1.
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
from dreamdist3d.choices import LiftKind
from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.guidance import Condition
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.roads import Asset, lift_assets
from dreamdist3d.runs.prepare import open_backbone, road_of


@dataclass(frozen=True)
class Options:
    """What to time.

    Attributes:
        config: the configuration whose schedule is walked.
        backbone: in place of the configured one; benchmarks/random_model.py makes one of full size.
        sizes: values of B.
        kind: of the lift; None for the configured one.
        steps: of every lift; 0 for those of the configuration.
        rounds: lifts of every size.
        threads: of torch; 0 leaves them.
    """

    config: str = "dreamdist3d/mini.yaml"
    backbone: str | None = None
    sizes: tuple[int, ...] = (1, 2, 4, 8)
    kind: LiftKind | None = None
    steps: int = 0
    rounds: int = 1
    threads: int = 0


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.threads:
        torch.set_num_threads(options.threads)
    overrides = [f"system.backbone={options.backbone}"] if options.backbone else []
    overrides += [f"system.lift.kind={options.kind}"] if options.kind else []
    if options.steps:
        overrides += [f"trainer.max_steps={options.steps}", f"system.lift.views.steps={options.steps}"]
    config = load_config(options.config, [*overrides, "system.prompt_processor.prompt=a mushroom"])
    backbone = open_backbone(config.system)
    seconds: dict[int, list[float]] = {size: [] for size in options.sizes}
    peaks: dict[int, float] = {}
    for _ in range(options.rounds):
        for size in options.sizes:
            taken, peaks[size] = timed(config, backbone, size)
            seconds[size].append(taken)
    hourly = {size: 3600 * size / statistics.median(taken) for size, taken in seconds.items()}
    for size in options.sizes:
        print(json.dumps({
            "assets_in_step": size,
            "kind": config.system.lift.kind,
            "seconds": round(statistics.median(seconds[size]), 2),
            "lifts_per_hour": round(hourly[size], 2),
            "speedup": round(hourly[size] / hourly[options.sizes[0]], 3),
            "peak_gpu_gib": peaks[size],
            "device": str(backbone.device),
        }))  # fmt: skip


def timed(config: RunConfig, backbone: Backbone, size: int) -> tuple[float, float]:
    """Seconds of a lift of `size` assets, and the GPU's peak memory in GiB."""
    road = road_of(config)
    road = replace(road, lift=replace(road.lift, checkpoint_every=10**9, log_every=10**9))
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    with torch.no_grad():
        texts = encoder.encode_text([f"{number} mushrooms" for number in range(size)] + [""]).hidden
    on_gpu = backbone.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / str(number) for number in range(size)]
        assets = [Asset(Condition(texts[i], texts[-1]), place, i) for i, place in enumerate(places)]
        began = time.perf_counter()
        lift_assets(road, backbone, assets)
        if on_gpu:
            torch.cuda.synchronize()
        taken = time.perf_counter() - began
    return taken, round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else 0.0


if __name__ == "__main__":
    main()
