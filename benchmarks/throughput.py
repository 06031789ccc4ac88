"""Assets per hour of one process that lifts B assets in step, for several B.

    python benchmarks/throughput.py --kind views                            # the miniature, on this machine
    python benchmarks/throughput.py --config dreamdist3d/mvdream.yaml --backbone outputs/mvdream --sizes 1 2 4

Every size walks the whole schedule, in turn and `--rounds` times, so that all see the same machine; `--steps` shortens
it, which overstates what comes late. Stills and meshes at the end are left out: they are the same work for every B.
Prints one JSON line for each size; `speedup` is the ratio of assets per hour to the first size's. On a busy
machine the seconds of the CPU tell more than those of the clock. `difference` is how far a render of the first asset is
from what it is in the first size: the mean over its pixels, in [0, 1].
"""

import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.choices import LiftKind
from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.errors import UserError
from dreamdist3d.guidance import Condition
from dreamdist3d.lift import Field
from dreamdist3d.lift.render import render
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.roads import Asset, lift_assets
from dreamdist3d.roads.views import first_cameras
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
    found: dict[int, list[Timed]] = {size: [] for size in options.sizes}
    for _ in range(options.rounds):
        for size in options.sizes:
            found[size].append(timed(config, backbone, size))
    hourly = {size: 3600 * size / statistics.median(one.seconds for one in found[size]) for size in options.sizes}
    first = found[options.sizes[0]][0]
    for size, every in found.items():
        print(json.dumps({
            "assets_in_step": size,
            "kind": config.system.lift.kind,
            "seconds": round(statistics.median(one.seconds for one in every), 2),
            "cpu_seconds_an_asset": round(statistics.median(one.cpu_seconds for one in every) / size, 2),
            "lifts_per_hour": round(hourly[size], 2),
            "speedup": round(hourly[size] / hourly[options.sizes[0]], 3),
            "difference": round(float((every[0].shown - first.shown).abs().mean()), 5),
            "peak_gpu_gib": every[0].peak_gpu_gib,
            "device": str(backbone.device),
        }))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Timed:
    """What a lift of several assets took, and the front of the first."""

    seconds: float
    cpu_seconds: float
    peak_gpu_gib: float
    shown: Tensor  # [3, H, W]


def timed(config: RunConfig, backbone: Backbone, size: int) -> Timed:
    """Lift `size` assets in step."""
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
        began, cpu_began = time.perf_counter(), time.process_time()
        field, *_ = lift_assets(road, backbone, assets)
        if on_gpu:
            torch.cuda.synchronize()
        taken, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    if isinstance(field, UserError):
        raise field
    peak = round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else 0.0
    return Timed(taken, cpu, peak, front(field, config))


@torch.no_grad()
def front(field: Field, config: RunConfig) -> Tensor:
    """The field as a camera of the lift sees it, on white."""
    camera = first_cameras(config.data, 1, 15.0).to(field.outer.weight.device)
    return render(field, camera, 96, 96, torch.ones(3, device=field.outer.weight.device)).rgb[0].cpu()


if __name__ == "__main__":
    main()
