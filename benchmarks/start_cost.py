"""What a run costs before its first step, in a process of its own and in a worker that has the backbone loaded.

    python benchmarks/start_cost.py --distribution mushrooms.safetensors

Prints one JSON line, medians in seconds: `process` starts Python and imports what a run needs, the libraries of its
model among it, `backbone` loads the diffusion model, `prepare` encodes the draw. A worker of a batch pays the first two
once, a launch every time. `parent` is what a batch's own process imports, which runs no model; both as CPU seconds too,
which do not tell how busy the machine is.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tyro

from dreamdist3d.config import load_config
from dreamdist3d.runs.prepare import open_backbone, prepare
from dreamdist3d.runs.run import Run
from dreamdist3d.runs.trial import Trial, locate

PARENT = "import dreamdist3d.runs.batch"
WORKER = (
    "import dreamdist3d.runs.worker; from diffusers import AutoencoderKL, UNet2DConditionModel; "
    "from transformers import CLIPTextModel, CLIPTokenizer"
)


def main(distribution: Path, config: str = "dreamdist3d/mini.yaml", repeats: int = 5) -> None:
    """Time the three.

    Args:
        distribution: a file that fits the configuration's backbone.
        config: of the runs.
        repeats: of each.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = load_config(config, [f"system.prompt_processor.distribution={distribution}", "tag=timed"])
        run = Run.of(Trial(Path(folder)), locate(settings)[1])
        backbone = open_backbone(settings.system)
        seconds = {
            "process": median(lambda: started(WORKER), repeats),
            "process_cpu": round(statistics.median(cpu_seconds(WORKER) for _ in range(repeats)), 2),
            "parent": median(lambda: started(PARENT), repeats),
            "parent_cpu": round(statistics.median(cpu_seconds(PARENT) for _ in range(repeats)), 2),
            "backbone": median(lambda: open_backbone(settings.system), repeats),
            "prepare": median(lambda: prepare(run, backbone), repeats),
        }
    print(json.dumps(seconds | {"saved_per_run": round(seconds["process"] + seconds["backbone"], 2)}))


def started(code: str) -> None:
    """A fresh Python that imports."""
    subprocess.run([sys.executable, "-c", code], check=True)


def cpu_seconds(code: str) -> float:
    """What a fresh Python that imports takes of a processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started(code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def median(work: Callable[[], object], repeats: int) -> float:
    """Seconds."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return round(statistics.median(taken), 2)


if __name__ == "__main__":
    tyro.cli(main)
