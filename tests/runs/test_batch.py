"""Batches: a plan that holds, workers that may die, and a folder that tells the truth."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.runs import walk
from dreamdist3d.runs.batch import held, last_line, open_batch
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import BatchPlan, plan_batch
from dreamdist3d.runs.trial import Trial
from dreamdist3d.runs.worker import Worker

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def overrides(tiny_run: list[str], tiny_distribution: Path) -> list[str]:
    """A run of any length that keeps the blob it begins with: a guidance of random weights would empty it."""
    still = ["system.optimizer.lr=1e-6", "system.optimizer.mlp_lr=1e-6", "trainer.checkpoint_every=1"]
    return [*tiny_run, f"system.prompt_processor.distribution={tiny_distribution}", *still]


@pytest.fixture
def config(overrides: list[str]) -> RunConfig:
    return load_config("dreamdist3d/mini.yaml", overrides)


def seeds(plan: BatchPlan) -> list[tuple[int, bool]]:
    return [(run.draw_seed, run.antithetic) for run in plan.runs]


def test_a_plan_has_as_many_distinct_draws_as_asked_for(config: RunConfig) -> None:
    for draws in ("independent", "antithetic", "spread"):
        plan = plan_batch(config, 5, draws)
        assert len(set(seeds(plan))) == len({run.name for run in plan.runs}) == len({r.seed for r in plan.runs}) == 5
    assert [twin for _, twin in seeds(plan_batch(config, 4, "antithetic"))] == [False, True, False, True]


def test_two_plans_differ_and_a_named_first_seed_holds(config: RunConfig, overrides: list[str]) -> None:
    assert seeds(plan_batch(config, 3)) != seeds(plan_batch(config, 3))
    named = load_config("dreamdist3d/mini.yaml", [*overrides, "system.prompt_processor.draw_seed=7"])
    assert seeds(plan_batch(named, 3)) == [(7, False), (8, False), (9, False)]


def test_a_plain_text_differs_by_its_seed_alone(overrides: list[str]) -> None:
    text = ["system.prompt_processor.distribution=null", "system.prompt_processor.prompt=a cat", "seed=4"]
    plan = plan_batch(load_config("dreamdist3d/mini.yaml", [*overrides, *text]), 2)
    assert [(run.seed, run.draw_seed, run.name) for run in plan.runs] == [
        (4, None, "000-a-cat-4"),
        (5, None, "001-a-cat-5"),
    ]


def test_a_plan_survives_the_disk_and_has_a_pending_record_for_every_run(config: RunConfig, tmp_path: Path) -> None:
    plan = plan_batch(config, 2)
    plan.save(tmp_path)
    assert BatchPlan.load(tmp_path) == plan
    for run in plan.runs:
        manifest = Manifest.load(tmp_path / run.name / "run.json")
        assert manifest.state == "pending" and manifest.draw["seed"] == run.draw_seed
        assert manifest.config["system"]["prompt_processor"]["draw_seed"] == run.draw_seed


def test_a_folder_planned_otherwise_names_the_difference(
    config: RunConfig, overrides: list[str], tmp_path: Path
) -> None:
    plan_batch(config, 2).save(tmp_path / "cats")
    assert open_batch(tmp_path / "cats", config, 2, "independent") == BatchPlan.load(tmp_path / "cats")
    other = load_config("dreamdist3d/mini.yaml", [*overrides, "trainer.max_steps=4"])
    for changed, count, draws, named in (
        (config, 3, "independent", "--runs=2, not 3"),
        (config, 2, "spread", "--draws='independent', not 'spread'"),
        (other, 2, "independent", "trainer.max_steps=3, not 4"),
    ):
        with pytest.raises(UserError, match=named):
            open_batch(tmp_path / "cats", changed, count, draws)


def test_a_distribution_that_has_changed_is_not_gone_on_with(
    overrides: list[str], tiny_distribution: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(tiny_distribution.read_bytes())
    config = load_config("dreamdist3d/mini.yaml", [*overrides, f"system.prompt_processor.distribution={mine}"])
    plan_batch(config, 2).save(tmp_path / "cats")
    old = PromptDistribution.load(mine)
    replace(old, tokens=old.tokens + 1).save(mine)
    with pytest.raises(UserError, match=r"mine\.safetensors is not what .*batch\.json was planned with"):
        open_batch(tmp_path / "cats", config, 2, "independent")


def test_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 9000 + b"\nfirst\n  last \xff \n\n")
    assert last_line(log) == "last \N{REPLACEMENT CHARACTER}"
    log.write_text("")
    assert last_line(log) == ""


def test_a_damaged_plan_is_one_line(tmp_path: Path) -> None:
    for text in ("{", "[]", "{}", json.dumps({"runs": [{"name": 3}]})):
        (tmp_path / "batch.json").write_text(text)
        with pytest.raises(UserError, match=r"batch\.json") as caught:
            BatchPlan.load(tmp_path)
        assert "\n" not in str(caught.value)


def test_one_batch_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "cats"), pytest.raises(UserError, match="another batch is at work"), held(tmp_path / "cats"):
        pass


def test_a_stop_in_the_last_moments_of_a_run_keeps_the_next_from_beginning(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_pictures: None
) -> None:
    def export(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(walk, "_PHASES", (("export", export),))
    plan_batch(config, 2).save(tmp_path)
    with pytest.raises(Stopped, match="between two runs"):
        Worker(tmp_path).work_off()
    first, second = (Manifest.load(path) for path in sorted(tmp_path.glob("*/run.json")))
    assert (first.state, second.state, second.attempts) == ("done", "pending", 0)


# Real processes from here on.


class Batch:
    """A batch of real processes in a folder."""

    def __init__(self, folder: Path, overrides: list[str], runs: int = 3, *options: str) -> None:
        self.folder, self.runs = folder, runs
        self.command = [
            *(sys.executable, "-m", "dreamdist3d", "batch", "--config", "dreamdist3d/mini.yaml"),
            *("--runs", str(runs), "--out", str(folder), "--workers", "2", *options, *overrides),
        ]

    def start(self) -> subprocess.Popen:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            self.command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )

    def finish(self) -> subprocess.CompletedProcess:
        process = self.start()
        out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(self.command, process.returncode, out, err)

    def manifests(self) -> list[Manifest]:
        return [Manifest.load(path) for path in sorted(self.folder.glob("*/run.json"))]

    def workers(self) -> list[int]:
        """Process ids."""
        command = ["-m", "dreamdist3d.runs.worker", str(self.folder)]
        found = psutil.process_iter(["pid", "cmdline"])
        return [one.info["pid"] for one in found if (one.info["cmdline"] or [])[1:4] == command]

    def until(self, reached, process: subprocess.Popen, seconds: float = 240.0) -> None:
        """Wait, and no longer than the batch lives."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline
            assert process.poll() is None or reached(), process.stderr.read()
            time.sleep(0.02)

    def is_whole(self) -> None:
        """N assets, each from its planned draw, and the tables that go with them."""
        plan = BatchPlan.load(self.folder)
        assert len(plan.runs) == self.runs == len(set(seeds(plan)))
        for run in plan.runs:
            trial = Trial(self.folder / run.name)
            manifest = trial.manifest()
            assert manifest.state == "done", manifest
            assert manifest.draw["seed"] == run.draw_seed and manifest.draw["omega_sha256"]
            assert trial.mesh.read_bytes()[:4] == b"glTF"
        assert len((self.folder / "manifest.csv").read_text().splitlines()) == self.runs + 1
        assert (self.folder / "report" / "report.html").is_file()


def fingerprints(folder: Path) -> dict[str, tuple[float, str]]:
    """Time and hash of every mesh that is there."""
    found = folder.glob("*/export/model.glb")
    return {str(p): (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest()) for p in found}


@pytest.mark.slow
def test_a_batch_makes_all_assets_and_its_command_again_touches_none(overrides: list[str], tmp_path: Path) -> None:
    batch = Batch(tmp_path / "cats", overrides)
    ended = batch.finish()
    assert ended.returncode == 0, ended.stderr
    batch.is_whole()
    before = fingerprints(batch.folder)
    assert batch.finish().returncode == 0 and fingerprints(batch.folder) == before
    shown = subprocess.run(
        [sys.executable, "-m", "dreamdist3d", "status", str(batch.folder)], capture_output=True, text=True
    )
    assert shown.returncode == 0 and "3 done of 3" in shown.stdout


@pytest.mark.slow
def test_runs_lifted_in_step_are_those_lifted_alone(overrides: list[str], tmp_path: Path) -> None:
    same = [*overrides, "system.prompt_processor.draw_seed=5", "system.optimizer.lr=0.05"]
    alone = Batch(tmp_path / "alone", same, 2)
    together = Batch(tmp_path / "together", same, 2, "--assets-per-worker", "2")
    for batch in (alone, together):
        ended = batch.finish()
        assert ended.returncode == 0, ended.stderr
        batch.is_whole()
    import torch

    for run in BatchPlan.load(alone.folder).runs:
        first, second = (
            torch.load(Trial(b.folder / run.name).last_checkpoint, weights_only=True)["field"]
            for b in (alone, together)
        )
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_workers_killed_at_random_moments_leave_a_whole_batch(overrides: list[str], tmp_path: Path) -> None:
    batch = Batch(tmp_path / "cats", [*overrides, "trainer.max_steps=40"], 3, "--retries", "12")
    dice, process = random.Random(0), batch.start()
    kept: dict[str, tuple[float, str]] = {}
    for _ in range(10):
        batch.until(lambda: batch.workers() or process.poll() is not None, process)
        time.sleep(dice.uniform(0.5, 6.0))
        kept |= {name: value for name, value in fingerprints(batch.folder).items() if name not in kept}
        if alive := batch.workers():
            os.kill(dice.choice(alive), signal.SIGKILL)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    batch.is_whole()
    assert kept.items() <= fingerprints(batch.folder).items()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_parent_ends_and_the_same_command_goes_on(overrides: list[str], tmp_path: Path, number: int) -> None:
    batch = Batch(tmp_path / "cats", [*overrides, "trainer.max_steps=60"], 3)
    process = batch.start()
    batch.until(lambda: any(m.state == "done" for m in batch.manifests()), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    if number != signal.SIGKILL:
        assert process.returncode == 130 and "the same command goes on" in err.splitlines()[-1]
        assert not batch.workers()
    deadline = time.monotonic() + 120
    while batch.workers():  # orphans stop by themselves
        assert time.monotonic() < deadline
        time.sleep(0.1)
    kept = fingerprints(batch.folder)
    assert kept
    ended = batch.finish()
    assert ended.returncode == 0, ended.stderr
    batch.is_whole()
    assert kept.items() <= fingerprints(batch.folder).items()


@pytest.mark.slow
def test_a_second_batch_on_the_folder_is_refused(overrides: list[str], tmp_path: Path) -> None:
    batch = Batch(tmp_path / "cats", [*overrides, "trainer.max_steps=100000"], 2)
    process = batch.start()
    batch.until(lambda: bool(batch.workers()), process)
    second = batch.finish()
    assert second.returncode == 2 and "another batch is at work" in second.stderr.splitlines()[-1]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_a_few_steps(overrides: list[str], tmp_path: Path) -> None:
    batch = Batch(tmp_path / "cats", [*overrides, "trainer.max_steps=400"], 1)
    process = batch.start()
    batch.until(lambda: len(list(batch.folder.glob("*/ckpts/previous.ckpt"))) == 1, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    (checkpoint,) = batch.folder.glob("*/ckpts/last.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    ended = batch.finish()
    assert ended.returncode == 0, ended.stderr
    batch.is_whole()
    assert "goes on from previous.ckpt" in "".join(p.read_text() for p in (batch.folder / "logs").iterdir())


@pytest.mark.slow
def test_a_run_that_always_fails_leaves_the_others_alone_and_is_tried_again(
    overrides: list[str], tmp_path: Path
) -> None:
    batch = Batch(tmp_path / "cats", overrides, 3, "--retries", "1")
    BatchPlan.save(plan_batch(load_config("dreamdist3d/mini.yaml", overrides), 3), batch.folder)
    broken = batch.folder / BatchPlan.load(batch.folder).runs[1].name
    (broken / "ckpts").write_text("a file where the folder of checkpoints should be")
    ended = batch.finish()
    assert ended.returncode == 2
    assert "2 of 3 runs are done" in (line := ended.stderr.splitlines()[-1]) and broken.name in line
    failed = Manifest.load(broken / "run.json")
    assert (failed.state, failed.attempts) == ("failed", 2) and "ckpts" in failed.error
    kept = fingerprints(batch.folder)
    (broken / "ckpts").unlink()
    assert batch.finish().returncode == 0
    batch.is_whole()
    assert len(kept) == 2 and kept.items() <= fingerprints(batch.folder).items()


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=False)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_nothing_is_lost(overrides: list[str], small_disk: Path) -> None:
    batch = Batch(small_disk / "cats", overrides, 2, "--workers", "1")
    filler = small_disk / "filler"
    BatchPlan.save(plan_batch(load_config("dreamdist3d/mini.yaml", overrides), 2), batch.folder)
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(bytes(max(0, free - 100_000)))
    ended = batch.finish()
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "space" in ended.stderr.splitlines()[-1].lower()
    kept = fingerprints(batch.folder)
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    ended = batch.finish()
    assert ended.returncode == 0, ended.stderr
    batch.is_whole()
    assert kept.items() <= fingerprints(batch.folder).items()
