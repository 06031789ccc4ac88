"""Batches on their worst days: processes killed and stopped, disks filled, files spoilt, memory withheld.

    python benchmarks/faults.py --kills 50

What surrounds a lift is real: plan, locks, records, checkpoints, workers as processes, signals. The lift itself is a
loop that counts, and its assets are bytes that follow from the seed, so that a batch takes a second and every asset can
be told from every other. After each fault the same command runs again, undisturbed, and must leave exactly the planned
assets, nothing that was finished touched, and no temporary file. Prints one line of JSON: for each kind of fault, how
many were survived.
"""

import ctypes
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import tyro

from dreamdist3d import files, stopping
from dreamdist3d.config import load_config
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.files import write_atomic
from dreamdist3d.lift.checkpoints import read_checkpoint, write_checkpoint
from dreamdist3d.runs import batch, walk, worker
from dreamdist3d.runs.batch import BatchOptions, open_batch, work_off
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import BatchPlan
from dreamdist3d.runs.prepare import Prepared
from dreamdist3d.runs.run import Run
from dreamdist3d.runs.trial import Trial

STEPS, STEP_SECONDS, RUNS, MESH_BYTES = 12, 0.01, 3, 40_000
CONFIG = ("dreamdist3d/mini.yaml", ["system.prompt_processor.prompt=a cat", "system.device=cpu", "seed=1"])
OPTIONS = BatchOptions(workers=2, retries=6)
Work = Callable[[], object]


def main(kills: int = 10, seed: int = 0) -> None:
    """Do every kind of fault.

    Args:
        kills: random kills of workers, and as many of their batch; a fifth of that many stops of either.
        seed: of the moments they come at.
    """
    stub_the_lift()
    dice, began, few = random.Random(seed), time.monotonic(), -(-kills // 5)
    kinds: dict[str, Callable[[], object]] = {
        "kill_at_every_write": at_every_write,
        "kill_a_worker": lambda: sum(disturbed(dice, signal.SIGKILL, is_worker=True) for _ in range(kills)),
        "kill_the_batch": lambda: sum(disturbed(dice, signal.SIGKILL, is_worker=False) for _ in range(kills)),
        "sigterm": lambda: sum(disturbed(dice, signal.SIGTERM, is_worker=False) for _ in range(few)),
        "ctrl_c": lambda: sum(disturbed(dice, signal.SIGINT, is_worker=False) for _ in range(few)),
        "two_batches_at_once": lambda: sum(two_at_once() for _ in range(few)),
        "spoilt_files": lambda: sum(spoilt(spoil) for spoil in SPOILS),
        "full_disks": full_disks,
        "no_memory_to_load": no_memory,
    }
    held = {}
    for name, survived in kinds.items():
        held[name] = survived()
        print(f"{name}: {held[name]} survived, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(json.dumps(held | {"seconds": round(time.monotonic() - began)}))


# The lift that takes no time.


def stub_the_lift() -> None:
    """Put a counting loop in the place of weights, lift and mesh, and forks in that of new interpreters."""
    walk.lift_assets, walk._PHASES = lift_assets, (("test", show), ("export", export))
    worker.open_models, worker.prepare = lambda system: SimpleNamespace(device="cpu"), prepare
    batch._Workers._spawn = lambda workers, place: Forked(
        lambda: worker.main(workers.folder, workers.options.retries), workers._log(place)
    )
    worker._ORPHAN_SECONDS = 0.05


def prepare(run: Run, backbone: Any) -> Prepared | None:
    """As the real one, of weights that are not there."""
    recorded = run.trial.manifest()
    if recorded.state == "done" and run.trial.lacks(recorded) is None:
        return None
    manifest = Manifest(
        config={"seed": run.config.seed},
        backbone={"name": "stub"},
        attempts=recorded.attempts,
        max_steps=STEPS,
        timings=dict(recorded.timings),
    )
    return Prepared(run, backbone, SimpleNamespace(), manifest)


def lift_assets(config: Any, backbone: Any, assets: Sequence[Any]) -> list[Any]:
    """Count to STEPS, with a checkpoint after each step."""
    (lift,) = assets
    step = read_checkpoint(lift.resume)["step"] if lift.resume else 0
    with stopping.StopSignal() as stop:
        while step < STEPS:
            time.sleep(STEP_SECONDS)
            step += 1
            state = dict.fromkeys(("field", "occupancy", "optimizer"), {}) | {"step": step, "seed": lift.seed}
            write_checkpoint(state | {"weights": torch.zeros(500)}, lift.pulled_by(None).checkpoint)
            lift.on_step(step)
            if stop.requested and step < STEPS:
                raise Stopped(f"stopped at step {step}")
    return [lift.seed]


def show(field: Any, run: Run) -> None:
    """One picture."""
    write_atomic(run.trial.save_folder / "front.png", lambda path: path.write_bytes(content(run.config.seed, "front")))


def export(field: Any, run: Run) -> None:
    """One mesh."""
    write_atomic(run.trial.mesh, lambda path: path.write_bytes(content(run.config.seed, "mesh")))


def content(seed: int, what: str) -> bytes:
    """Bytes that no other seed has."""
    return hashlib.sha256(f"{what} {seed}".encode()).digest() * (MESH_BYTES // 32)


class Forked:
    """A forked process with the few methods of `subprocess.Popen` that a batch uses."""

    def __init__(self, work: Work, log: Path) -> None:
        self.code: int | None = None
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._live(work, log)

    def _live(self, work: Work, log: Path) -> None:
        code = 70
        try:
            os.setsid()
            os.closerange(3, 1024)  # above all the locks of the parent
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(out, 1)
            os.dup2(out, 2)
            stopping._asked.clear()
            stopping._previous.clear()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            ctypes.CDLL(None).prctl(1, signal.SIGKILL) if log.name == "batch.log" else None  # dies with this script
            work()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.005)
        return self.code

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


# A batch, its command, and what it must leave.


class Place:
    """A batch's folder and its command; `files_of` counts what is finished."""

    def __init__(self, root: Path, runs: int = RUNS) -> None:
        self.folder, self.log, self.runs = root / "cats", root / "batch.log", runs

    def command(self) -> None:
        with open_batch(self.folder, load_config(*CONFIG), self.runs, "independent") as plan:
            work_off(self.folder, plan, OPTIONS)

    def start(self, work: Work | None = None) -> Forked:
        return Forked(work or self.command, self.log)

    def finished(self) -> dict[str, tuple[int, bytes]]:
        """Meshes of runs that are recorded as done: time and content."""
        found = {}
        for path in self.folder.glob("*/run.json"):
            try:
                manifest, trial = Manifest.load(path), Trial(path.parent)
            except UserError:
                continue
            if manifest.state == "done" and trial.lacks(manifest) is None:
                found[path.parent.name] = (trial.mesh.stat().st_mtime_ns, trial.mesh.read_bytes())
        return found

    def workers(self) -> list[int]:
        """Those that hold a run."""
        holders = [walk_holder(path) for path in self.folder.glob("*/run.json")]
        return [pid for pid in holders if pid]

    def goes_on(self, kept: dict[str, tuple[int, bytes]]) -> bool:
        """The command again, undisturbed; then all assets must be there, and those of before as they were."""
        code = self.start().wait()
        if code != 0:
            raise SystemExit(f"the command ended with {code}:\n{self.log.read_text()[-3000:]}")
        plan, now = BatchPlan.load(self.folder), self.finished()
        expected = {run.name: content(run.seed, "mesh") for run in plan.runs}
        assert {name: data for name, (_, data) in now.items()} == expected and len(expected) == self.runs, now.keys()
        assert kept.items() <= now.items(), "a finished asset was made again"
        left = [path for path in self.folder.rglob(".*") if files._is_unfinished(path.name)]
        assert not left, left
        return True


def walk_holder(record: Path) -> int | None:
    """The process id of who holds a run now."""
    holder = batch.holder_of(record.parent / batch.LOCK)
    return holder.pid if holder else None


def in_a_place(test: Callable[[Place], bool], runs: int = RUNS) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return test(Place(Path(folder), runs))


# The faults.


def at_every_write() -> int:
    """Kill one process that plans and works off a batch alone, at its 1st, 2nd, ... call that changes a file."""
    point = 0
    while True:
        point += 1

        def attempt(place: Place, point: int = point) -> bool:
            code = place.start(lambda: killed_at(point, place)).wait()
            place.goes_on(place.finished())
            return code == -signal.SIGKILL

        if not in_a_place(attempt, runs=1):
            return point - 1


def killed_at(point: int, place: Place) -> None:
    """Work in this process alone, and die at the given write."""
    count = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*words: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*words, **named)

        return instead

    os.replace, os.fsync = counted(os.replace), counted(os.fsync)
    tempfile.mkstemp = counted(tempfile.mkstemp)
    global STEPS
    STEPS = 2
    with open_batch(place.folder, load_config(*CONFIG), place.runs, "independent"):
        worker.Worker(place.folder).work_off()


def disturbed(dice: random.Random, number: int, is_worker: bool) -> bool:
    """A signal at a random moment."""

    def test(place: Place) -> bool:
        process = place.start()
        time.sleep(dice.uniform(0.02, 0.9))
        if is_worker:
            for pid in place.workers()[:1]:
                os.kill(pid, number)
            assert process.wait() == 0, place.log.read_text()  # the batch replaces it by itself
            kept = place.finished()
            assert len(kept) == RUNS
        else:
            process.signal(number)
            kept = place.finished()
            process.wait()
        return place.goes_on(kept)

    return in_a_place(test)


def two_at_once() -> bool:
    """One of two works, the other waits for it or is refused; what they make is one batch."""

    def test(place: Place) -> bool:
        with ThreadPoolExecutor(2) as pool:
            first, second = (place.start() for _ in range(2))
            codes = list(pool.map(Forked.wait, (first, second)))
        assert 0 in codes and set(codes) <= {0, 2}, codes
        assert len(list(place.folder.glob("*/run.json"))) == RUNS
        return place.goes_on(place.finished())

    return in_a_place(test)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


SPOILS: tuple[tuple[str, Callable[[Path], object]], ...] = tuple(
    (name, spoil)
    for name in ("run.json", "ckpts/last.ckpt", "ckpts/previous.ckpt", "export/model.glb", "save/front.png", ".lock")
    for spoil in (Path.unlink, cut)
) + (
    (".", shutil.rmtree),
    ("export", shutil.rmtree),
    ("ckpts", shutil.rmtree),
    ("run.json", lambda path: path.write_text('{"draw": 3}')),
    ("run.json", lambda path: path.write_text("[" * 100_000)),
)


def spoilt(fault: tuple[str, Callable[[Path], object]]) -> bool:
    """A file or folder of a run of a finished batch, and of a stopped one, spoilt before the command goes on."""
    name, spoil = fault

    def test(place: Place) -> bool:
        process = place.start()
        while not list(place.folder.glob("*/ckpts/previous.ckpt")):
            time.sleep(0.01)
        process.terminate()
        process.wait()
        for _ in range(2):  # stopped, then finished
            victim = next(path.parent.parent for path in sorted(place.folder.glob("*/ckpts/previous.ckpt")))
            kept = {run: mesh for run, mesh in place.finished().items() if run != victim.name}
            if (victim / name).exists():
                spoil(victim / name)
            place.goes_on(kept)
        return True

    return in_a_place(test)


def full_disks() -> int | str:
    """Nine sizes of a disk that is too small; then it grows."""
    survived = 0
    for kib in (60, 80, 100, 120, 150, 180, 220, 260, 300):
        with tempfile.TemporaryDirectory() as root:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", root]
            if subprocess.run(mount, capture_output=True, check=False).returncode:
                return "not tried: mounting needs root"
            try:
                place = Place(Path(root))
                place.log = Path(tempfile.gettempdir()) / f"faults-{os.getpid()}" / "batch.log"
                place.log.parent.mkdir(exist_ok=True)
                code = place.start().wait()
                assert code == UserError.exit_code or (code == 0 and len(place.finished()) == RUNS), code
                assert "Traceback" not in place.log.read_text(), place.log.read_text()
                subprocess.run(["mount", "-o", "remount,size=50m", root], check=True)
                survived += place.goes_on(place.finished())
            finally:
                shutil.rmtree(place.log.parent)
                subprocess.run(["umount", "-l", root], check=True)
    return survived


def no_memory() -> int:
    """Workers that are refused the memory their weights need; then they get it."""

    def starved(system: Any) -> Any:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, resource.RLIM_INFINITY))
        try:
            return SimpleNamespace(device="cpu", weights=torch.zeros(2**27))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def command(place: Place) -> None:
        worker.open_models = starved
        place.command()

    def test(place: Place) -> bool:
        assert place.start(lambda: command(place)).wait() == UserError.exit_code
        told = place.log.read_text().splitlines()[-1]
        assert "0 of 3 runs are done" in told and "out of memory while" in told, told
        return place.goes_on({})

    return sum(in_a_place(test) for _ in range(3))


if __name__ == "__main__":
    tyro.cli(main)
