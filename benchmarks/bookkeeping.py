"""What the bookkeeping of a large batch costs: writing its plan, and looking at the records of all its runs.

    python benchmarks/bookkeeping.py

Prints one line of JSON: seconds and CPU seconds of this process. A batch looks five times a second.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tyro

from dreamdist3d.config import load_config
from dreamdist3d.runs.plan import plan_batch
from dreamdist3d.runs.progress import status_of
from dreamdist3d.runs.records import Records


def main(runs: int = 400, looks: int = 20) -> None:
    """Time both; the first look, which reads everything, is told apart."""
    plan = plan_batch(load_config("dreamdist3d/mini.yaml", ["system.prompt_processor.prompt=a cat"]), runs)
    with tempfile.TemporaryDirectory() as folder:
        place, records = Path(folder) / "batch", Records(Path(folder) / "batch")
        found = {
            "save_plan": timed(lambda: plan.save(place)),
            "first_look": timed(lambda: status_of(place, plan, records)),
        }
        found["look"] = timed(lambda: [status_of(place, plan, records) for _ in range(looks)], looks)
    print(json.dumps({"runs": runs, **found}))


def timed(work: Callable[[], object], times: int = 1) -> dict[str, float]:
    """Of one of several equal pieces of work."""
    began, used = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    return {"s": round(seconds / times, 4), "cpu_s": round(cpu / times, 4)}


if __name__ == "__main__":
    tyro.cli(main)
