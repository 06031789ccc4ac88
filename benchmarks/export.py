"""A field to a game asset, timed: seconds and CPU seconds per phase, and the peak memory of all processes together.

    python benchmarks/export.py                          # 256^3 voxels, 20,000 triangles, 1024^2 texels, 4 levels
    python benchmarks/export.py --run outputs/mini/RUN   # the field of a run instead of the full-size one

The field is the lift's own at the size of the shipped full configuration, with random details on its first
blob: knobs all over, of many colours. CPU seconds count all processes and say what the work costs where other programs
share the machine. Memory is the proportional set size (Linux). Prints one JSON line.
"""

import json
import os
import resource
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import torch
import tyro
from road import family_of, proportional_kib

from dreamdist3d.config import load_config
from dreamdist3d.lift import Field, load_field
from dreamdist3d.mesh.package import AssetSource, PackageSettings, export_asset
from dreamdist3d.mesh.texture import TextureSettings
from dreamdist3d.runs.run import Run
from dreamdist3d.runs.source import field_source
from dreamdist3d.runs.trial import Trial

CONFIG = "dreamdist3d/mvdream.yaml"


def main(
    run: Path | None = None,
    resolution: int = 256,
    triangles: int = 20_000,
    texture_size: int = 1024,
    lods: int = 4,
    threads: int = 2,
    preset: str = "web",
) -> None:
    """Export one asset into a temporary folder; `lods` counts LOD0, so that 4 are a mesh and three LODs of it."""
    torch.set_num_threads(threads)
    made, field = from_run(run) if run else full_size()
    settings = PackageSettings(
        preset=preset, triangles=triangles, lods=lods, texture=TextureSettings(size=texture_size)
    )
    clock = Clock()
    with Memory() as memory, tempfile.TemporaryDirectory() as folder:
        clock.begins("surface")
        source = surface_of(field, made, resolution)
        asset = export_asset(source, Path(folder), settings, clock.begins)
        clock.begins("")
        megabytes = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
    result = {
        "field": str(run) if run else CONFIG,
        "resolution": resolution,
        "surface_triangles": len(source.surface.faces),
        "triangles": [level["triangles"] for level in asset.record["levels"]],
        "hulls": len(asset.record["collision"]),
        "texture_size": texture_size,
        "seconds": round(clock.total[0], 1),
        "cpu_seconds": round(clock.total[1], 1),
        "phases": {name: {"s": round(wall, 1), "cpu_s": round(cpu, 1)} for name, (wall, cpu) in clock.phases.items()},
        "peak_mb": round(memory.peak / 1024),
        "files_mb": round(megabytes, 1),
        "warnings": asset.record["warnings"],
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result))


def full_size() -> tuple[Run, Field]:
    """The field every full-size run begins with, its coarse grids strengthened until they show."""
    config = load_config(CONFIG, ["system.prompt_processor.prompt=benchmark"])
    field = Field(config.system.geometry, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for grid in list(field.grids)[:2]:
            grid *= 150.0
    return Run.of(Trial(Path("benchmark")), config), field


def from_run(folder: Path) -> tuple[Run, Field]:
    trial = Trial(folder)
    config = load_config(str(trial.parsed_config))
    return Run.of(trial, config), load_field(trial.last_checkpoint, config.lift(), "cpu")


def surface_of(field: Field, run: Run, resolution: int) -> AssetSource:
    return field_source(field, replace(run, mesh=replace(run.mesh, resolution=resolution)))


class Clock:
    """Seconds, and CPU seconds of this process and of those it waited for, between one phase's begin and the next."""

    def __init__(self) -> None:
        self.phases: dict[str, tuple[float, float]] = {}
        self._phase, self._since = "", self._now()

    def begins(self, phase: str) -> None:
        """The end of the phase before."""
        now = self._now()
        if self._phase:
            self.phases[self._phase] = (now[0] - self._since[0], now[1] - self._since[1])
        self._phase, self._since = phase, now

    @property
    def total(self) -> tuple[float, float]:
        """Of all phases."""
        return sum(wall for wall, _ in self.phases.values()), sum(cpu for _, cpu in self.phases.values())

    @staticmethod
    def _now() -> tuple[float, float]:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.monotonic(), sum(usage.ru_utime + usage.ru_stime for usage in used)


class Memory:
    """Looks at the memory of this process and its descendants five times a second; `peak` in KiB."""

    def __enter__(self) -> "Memory":
        self.peak, self._over = 0, threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            self.peak = max(self.peak, sum(map(proportional_kib, family_of(os.getpid()))))


if __name__ == "__main__":
    tyro.cli(main)
