"""Batches of forked processes: what they do is real, with files, locks and signals, only small."""

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import tyro

from dreamdist3d.cli import main
from dreamdist3d.runs import batch, worker
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import BatchPlan
from dreamdist3d.runs.trial import Trial
from tests.forked import Forked, alive


class Batch:
    """`dreamdist3d batch` with two workers on a folder.

    Args:
        aside: where this class keeps its own files; beside the folder if it is not told.
    """

    def __init__(
        self, folder: Path, overrides: list[str], runs: int = 3, *options: str, aside: Path | None = None
    ) -> None:
        self.folder, self.runs, self.aside = folder, runs, (aside or folder.parent) / f"{folder.name}-tested"
        self.aside.mkdir()
        self.arguments = [
            *("batch", "--config", "dreamdist3d/mini.yaml", "--features", "mini"),
            *("--runs", str(runs), "--out", str(folder), "--workers", "2", *options, *overrides),
        ]

    def start(self) -> Forked:
        """The command's process."""

        def work() -> int:
            batch.subprocess = SimpleNamespace(Popen=self._fork_worker, DEVNULL=None, STDOUT=None)
            return main(self.arguments)

        number = len(list(self.aside.glob("*.err")))
        return Forked(work, self.aside / f"{number}.out", self.aside / f"{number}.err")

    def _fork_worker(
        self, command: list[str], env: Mapping[str, str], stdout: IO[str], start_new_session: bool, **_: object
    ) -> Forked:
        """What the batch would start as a new interpreter."""
        words = command[command.index("dreamdist3d.runs.worker") + 1 :]

        def work() -> None:
            tyro.cli(worker.main, args=words)

        log = Path(stdout.name)
        process = Forked(work, log, log, env, start_new_session)
        (self.aside / f"{process.pid}.pid").touch()
        return process

    def finish(self) -> tuple[int, str]:
        """Exit code and errors of the whole command."""
        process = self.start()
        _, err = process.communicate(timeout=240)
        return process.returncode, err

    def succeed(self) -> None:
        """Do the whole command, and look at what it left."""
        code, err = self.finish()
        assert code == 0, err
        self.is_whole()

    def manifests(self) -> list[Manifest]:
        """What run.json says of every run."""
        return [Manifest.load(path) for path in sorted(self.folder.glob("*/run.json"))]

    def workers(self) -> list[int]:
        """Process ids of those alive."""
        started = {int(path.stem): path.stat().st_mtime for path in self.aside.glob("*.pid")}
        return [pid for pid, time_of_start in started.items() if alive(pid, time_of_start)]

    def until(self, reached: Callable[[], object], process: Forked, seconds: float = 240.0) -> None:
        """Wait, and no longer than the batch lives."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline
            assert process.poll() is None or reached(), process.communicate()[1]
            time.sleep(0.01)

    def is_whole(self) -> None:
        """N assets, each from its planned draw, and the tables that go with them."""
        is_whole(self.folder, self.runs)

    def meshes(self) -> dict[str, tuple[float, str]]:
        """Time and hash of the mesh of every finished run."""
        return meshes(self.folder)


def is_whole(folder: Path, count: int) -> None:
    """As many assets as were asked for, each from its planned draw, and the tables that go with them."""
    plan = BatchPlan.load(folder)
    assert len(plan.runs) == count == len({(run.draw_seed, run.antithetic) for run in plan.runs})
    for run in plan.runs:
        trial = Trial(folder / run.name)
        manifest = trial.manifest()
        assert manifest.state == "done", manifest
        assert manifest.draw["seed"] == run.draw_seed and manifest.draw["omega_sha256"]
        assert trial.mesh.read_bytes()[:4] == b"glTF"
    table = (folder / "manifest.csv").read_text().splitlines()
    assert len(table) == count + 1 and ",licences" in table[0] and all("weights " in row for row in table[1:])
    assert (folder / "report" / "report.html").is_file()


def meshes(folder: Path) -> dict[str, tuple[float, str]]:
    """Time and hash of the mesh of every finished run; one that was ended right after its mesh makes it again."""
    done = [Trial(path.parent) for path in folder.glob("*/run.json") if Manifest.load(path).state == "done"]
    found = [trial.mesh for trial in done]
    return {str(p): (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest()) for p in found}
