"""The whole road of `make demo`, timed: seconds per step and the peak memory of all its processes together.

    python benchmarks/road.py --out /tmp/road

Walks in a fresh folder and prints one JSON line at the end. Memory is the proportional set size (Linux), so that
pages shared between processes count once.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import tyro


def main(out: Path, runs: int = 4) -> None:
    """Walk the road into `out`, which must not exist yet."""
    if out.exists():
        sys.exit(f"{out} exists; give a new folder, so that nothing is reused.")
    started = time.monotonic()
    command = [sys.executable, "-m", "dreamdist3d", "demo", "--out", str(out), "--runs", str(runs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    marks, peak = [], 0

    def listen() -> None:
        for line in process.stdout:
            print(line, end="", flush=True)
            marks.append(time.monotonic())

    listener = threading.Thread(target=listen)
    listener.start()
    while process.poll() is None:
        peak = max(peak, sum(map(proportional_kib, family_of(process.pid))))
        time.sleep(0.5)
    listener.join()
    if process.returncode:
        sys.exit(process.returncode)
    names = ("references_s", "learn_s", "runs_s", "report_s")
    result = {name: round(b - a, 1) for name, a, b in zip(names, marks, marks[1:], strict=False)}
    result["total_s"] = round(time.monotonic() - started, 1)
    result["asset_s"] = [round(sum(json.loads(p.read_text())["timings"].values()), 1) for p in manifests(out)]
    result["peak_mb"] = round(peak / 1024)
    print(json.dumps(result))


def manifests(out: Path) -> list[Path]:
    return sorted(out.glob("*/*/run.json"))


def family_of(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [p for child in task.read_text().split() for p in family_of(int(child))]
        except OSError:
            continue  # ended in between
    return found


def proportional_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    tyro.cli(main)
