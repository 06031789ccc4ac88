"""Seconds per step and peak memory of learning and lifting, through the real code, on random weights.

    python benchmarks/full_size.py --size mvdream --task lift --out outputs/full_size
    python benchmarks/full_size.py --size sd21 --task learn --out outputs/full_size

On a machine without CUDA the size is `small`, the renders have 16 and 32 pixels, and the output says so. Each
setting runs in a process of its own. Prints a table and, at the end, one JSON line. Seconds are medians over the
steps of a stage after its first; memory is what torch allocated on the GPU, or the process's resident set.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

import random_model
from dreamdist3d.backbones import (
    Backbone,
    compile_unet,
    load_backbone,
    release_text_encoder,
    resolve_precision,
    set_precision,
)
from dreamdist3d.config import load_config
from dreamdist3d.guidance import MultiviewGuidance
from dreamdist3d.lift import lift
from dreamdist3d.prompts import LearnConfig, SoftPromptEncoder
from dreamdist3d.prompts.learning.execution import Execution, prepared
from dreamdist3d.prompts.learning.images import encode_references
from dreamdist3d.prompts.learning.learner import Learner

REDUCED = ["data.resolution=[16,32]", "system.renderer.num_samples_per_ray=[24,48]", "system.device=cpu"]
COLUMNS = ("task", "precision", "low_vram", "compile", "seconds", "peak_mib")


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    task: Literal["learn", "lift"]
    folder: Path
    out: Path
    precision: Literal["fp32", "fp16", "bf16"]
    low_vram: bool
    compile: bool
    steps: int


def main(
    out: Path,
    task: Literal["learn", "lift"] = "lift",
    size: Literal["small", "sd21", "mvdream"] = "small",
    steps: int = 6,
    precisions: tuple[Literal["fp32", "fp16", "bf16"], ...] | None = None,
    compile: bool = False,
) -> None:
    """Measure every precision, with and without `low_vram`.

    Args:
        out: gets the random model, which is kept for the next time, and the trial.
        task: learning has no fp16, whose gradients vanish.
        size: of the random model.
        steps: of each setting; a lift does half of them in each of its two stages.
        precisions: the UNet's; left out, all three, or without CUDA, where fp16 takes ten times longer, the other two.
        compile: measure the compiled UNet too.
    """
    reduced = not torch.cuda.is_available()
    size = "small" if reduced else size
    if not (folder := out / size).is_dir():
        random_model.main(folder, size, half=not reduced)
    precisions = precisions or (("fp32", "bf16") if reduced else ("fp32", "fp16", "bf16"))
    asked = [p for p in precisions if (task, p) != ("learn", "fp16")]
    settings = [
        Setting(task, folder, out, precision, low_vram, compiled, steps)
        for precision in asked
        for low_vram in (False, True)
        for compiled in ((False, True) if compile else (False,))
    ]
    note = "REDUCED WIDTH AND SIZE: there is no CUDA device" if reduced else torch.cuda.get_device_name()
    print(f"{note}\n{'  '.join(f'{name:>9}' for name in COLUMNS)}", flush=True)
    print(json.dumps({"size": size, "note": note, "rows": [_row(setting) for setting in settings]}))


def _row(setting: Setting) -> dict[str, Any]:
    """Measure in a process of its own: a peak is a process's, and so is what was compiled."""
    given = json.dumps(asdict(setting), default=str)
    done = subprocess.run([sys.executable, __file__, given], stdout=subprocess.PIPE, text=True, check=True)
    row = {name: value for name, value in asdict(setting).items() if name in COLUMNS}
    row |= json.loads(done.stdout.splitlines()[-1])
    print("  ".join(f"{row[name]!s:>9}" for name in COLUMNS), flush=True)
    return row


def measure(setting: Setting) -> dict[str, Any]:
    """Median seconds per step of each stage, and the peak in MiB."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone = load_backbone(str(setting.folder), device)
    times = (_learn if setting.task == "learn" else _lift)(backbone, setting)
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() // 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"seconds": [round(statistics.median(stage[1:]), 3) for stage in times], "peak_mib": peak}


def _learn(backbone: Backbone, setting: Setting) -> list[list[float]]:
    pixels = torch.rand(4, 3, backbone.image_size, backbone.image_size) * 2 - 1
    times = []
    with prepared(backbone, Execution(setting.precision, setting.compile, checkpointing=setting.low_vram)):
        learner = Learner(backbone, encode_references(backbone, pixels), LearnConfig())
        for _ in range(setting.steps):
            started = time.perf_counter()
            learner.advance()  # its loss is read, which waits for the GPU
            times.append(time.perf_counter() - started)
    return [times]


def _lift(backbone: Backbone, setting: Setting) -> list[list[float]]:
    """The shipped configuration in `steps` steps; `lift` reads each loss, which waits for the GPU."""
    _prepare(backbone, setting)
    reduced = REDUCED if backbone.device.type == "cpu" else []
    config = load_config("dreamdist3d/mvdream.yaml", [f"trainer.max_steps={setting.steps}", *reduced])
    texts = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).encode_text(["a mushroom", ""]).hidden
    release_text_encoder(backbone)
    guidance = MultiviewGuidance(backbone, *texts, config.system.guidance)
    begun = []

    def timed(*arguments: Any) -> torch.Tensor:
        begun.append(time.perf_counter())
        return guidance(*arguments)

    lift(config.lift(), timed, setting.out / "trial", seed=0, device=backbone.device.type)
    # From the guidance of one step to that of the next is a step.
    took = [later - earlier for earlier, later in zip(begun, begun[1:], strict=False)]
    half = setting.steps // 2
    return [took[:half], took[half:]]


def _prepare(backbone: Backbone, setting: Setting) -> None:
    set_precision(backbone, resolve_precision(setting.precision, backbone.device))
    backbone.low_vram = setting.low_vram
    if setting.compile:
        compile_unet(backbone)


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        given = json.loads(sys.argv[1])
        given |= {name: Path(given[name]) for name in ("folder", "out")}
        print(json.dumps(measure(Setting(**given))))
    else:
        tyro.cli(main)
