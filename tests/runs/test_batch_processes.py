"""Batches of real processes: what is made, who may die, and what is kept."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from dreamdist3d.cli import main
from dreamdist3d.config import load_config
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import BatchPlan, plan_batch
from dreamdist3d.runs.trial import Trial
from tests.runs.batches import Batch, is_whole

pytestmark = pytest.mark.usefixtures("in_the_checkout", "small_pictures")


def words(folder: Path, runs: int, *more: str) -> list[str]:
    """`dreamdist3d batch` in interpreters of their own."""
    command = [sys.executable, "-m", "dreamdist3d", "batch", "--config", "dreamdist3d/mini.yaml", "--features", "mini"]
    return [*command, "--runs", str(runs), "--out", str(folder), *more]


@pytest.mark.slow
def test_new_interpreters_make_all_assets(overrides: list[str], tmp_path: Path) -> None:
    command = words(tmp_path / "cats", 2, "--workers", "2", *overrides)
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    is_whole(tmp_path / "cats", 2)


@pytest.mark.slow
def test_a_killed_interpreter_is_replaced_by_a_new_one_that_goes_on(overrides: list[str], tmp_path: Path) -> None:
    command = words(tmp_path / "cats", 1, "--workers", "1", *overrides, "trainer.max_steps=400")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "cats").glob("*/ckpts/previous.ckpt")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    (worker,) = psutil.Process(process.pid).children()
    worker.kill()
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    is_whole(tmp_path / "cats", 1)
    (run,) = (tmp_path / "cats").glob("*/run.json")
    assert Manifest.load(run).attempts == 2


# Forked processes from here on; see batches.py.


def test_the_command_again_touches_no_asset_and_status_tells_all(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = Batch(tmp_path / "cats", overrides)
    batch.succeed()
    before = batch.meshes()
    batch.succeed()
    assert batch.meshes() == before
    assert main(["status", str(batch.folder)]) == 0 and "3 done of 3" in capsys.readouterr().out


def test_runs_lifted_in_step_are_those_lifted_alone(overrides: list[str], tmp_path: Path) -> None:
    same = [*overrides, "system.prompt_processor.draw_seed=5", "system.optimizer.lr=0.05"]
    alone = Batch(tmp_path / "alone", same, 2)
    together = Batch(tmp_path / "together", same, 2, "--assets-per-worker", "2")
    for batch in (alone, together):
        batch.succeed()
    for run in BatchPlan.load(alone.folder).runs:
        first, second = (
            torch.load(Trial(b.folder / run.name).last_checkpoint, weights_only=True)["field"]
            for b in (alone, together)
        )
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_workers_killed_at_random_moments_leave_a_whole_batch(overrides: list[str], tmp_path: Path) -> None:
    batch = Batch(tmp_path / "cats", [*overrides, "trainer.max_steps=100"], 4, "--retries", "12")
    dice, process = random.Random(0), batch.start()
    kept: dict[str, tuple[float, str]] = {}
    kills = 0
    for _ in range(10):
        batch.until(lambda: batch.workers() or process.poll() is not None, process)
        time.sleep(dice.uniform(0.2, 2.0))
        kept |= {name: value for name, value in batch.meshes().items() if name not in kept}
        if alive := batch.workers():
            os.kill(dice.choice(alive), signal.SIGKILL)
            kills += 1
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0 and kills, err
    batch.is_whole()
    assert kept.items() <= batch.meshes().items()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_parent_ends_and_the_same_command_goes_on(overrides: list[str], tmp_path: Path, number: int) -> None:
    batch = Batch(tmp_path / "cats", [*overrides, "trainer.max_steps=100"], 3)
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
        time.sleep(0.05)
    kept = batch.meshes()
    assert kept
    code, err = batch.finish()
    assert code == 0 and kept.items() <= batch.meshes().items(), err
    batch.is_whole()


def test_a_second_batch_on_the_folder_is_refused(overrides: list[str], tmp_path: Path) -> None:
    batch = Batch(tmp_path / "cats", [*overrides, "trainer.max_steps=100000"], 2)
    process = batch.start()
    batch.until(batch.workers, process)
    code, err = batch.finish()
    assert code == 2 and "another batch is at work" in err.splitlines()[-1]
    process.terminate()
    process.communicate(timeout=120)
    assert not batch.workers()


def test_a_damaged_checkpoint_costs_a_few_steps(overrides: list[str], tmp_path: Path) -> None:
    batch = Batch(tmp_path / "cats", [*overrides, "trainer.max_steps=200"], 1)
    process = batch.start()
    batch.until(lambda: list(batch.folder.glob("*/ckpts/previous.ckpt")), process)
    process.terminate()
    process.communicate(timeout=120)
    (checkpoint,) = batch.folder.glob("*/ckpts/last.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    batch.succeed()
    assert "goes on from previous.ckpt" in "".join(p.read_text() for p in (batch.folder / "logs").iterdir())


def test_a_run_that_always_fails_leaves_the_others_alone_and_is_tried_again(
    overrides: list[str], tmp_path: Path
) -> None:
    batch = Batch(tmp_path / "cats", overrides, 3, "--retries", "1")
    plan_batch(load_config("dreamdist3d/mini.yaml", overrides), 3).save(batch.folder)
    broken = batch.folder / BatchPlan.load(batch.folder).runs[1].name
    (broken / "ckpts").write_text("a file where the folder of checkpoints should be")
    code, err = batch.finish()
    assert code == 2
    assert "2 of 3 runs are done" in (line := err.splitlines()[-1]) and broken.name in line
    failed = Manifest.load(broken / "run.json")
    assert (failed.state, failed.attempts) == ("failed", 2) and "ckpts" in failed.error
    kept = batch.meshes()
    (broken / "ckpts").unlink()
    batch.succeed()
    assert len(kept) == 2 and kept.items() <= batch.meshes().items()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
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


def test_a_full_disk_is_one_line_and_nothing_is_lost(overrides: list[str], small_disk: Path, tmp_path: Path) -> None:
    batch = Batch(small_disk / "cats", overrides, 2, "--workers", "1", aside=tmp_path)
    plan_batch(load_config("dreamdist3d/mini.yaml", overrides), 2).save(batch.folder)
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler = small_disk / "filler"
    filler.write_bytes(bytes(max(0, free - 100_000)))
    code, err = batch.finish()
    assert code == 2 and "Traceback" not in err
    assert "space" in err.splitlines()[-1].lower()
    kept = batch.meshes()
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    batch.succeed()
    assert kept.items() <= batch.meshes().items()
