"""What a batch looks like from outside."""

import shutil
from pathlib import Path

import pytest
from rich.console import Console

from dreamdist3d.config import load_config
from dreamdist3d.files import read_json, write_json
from dreamdist3d.runs import progress
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import BatchPlan, plan_batch
from dreamdist3d.runs.progress import Pace, RunStatus, render_table, status_of, watch
from dreamdist3d.runs.records import Records
from dreamdist3d.runs.trial import Trial


def run(number: int, state: str, share: float = 0.0, error: str = "") -> RunStatus:
    return RunStatus(f"{number:03d}-mushrooms-{number * 1111}", state, share, 0.0, 1, "cuda:0", error)


def printed(folder: Path, runs: list[RunStatus], height: int | None) -> list[str]:
    console = Console(width=100, height=height)
    with console.capture() as capture:
        console.print(render_table(folder, runs, 3600.0, height))
    return capture.get().splitlines()


@pytest.fixture
def plan() -> BatchPlan:
    return plan_batch(load_config("dreamdist3d/mini.yaml", ["system.prompt_processor.prompt=a cat"]), 4)


def test_states_of_run_json_and_a_run_that_nobody_works_at(plan: BatchPlan, tmp_path: Path) -> None:
    plan.save(tmp_path)
    trials = [Trial(tmp_path / planned.name) for planned in plan.runs]
    for trial, state in zip(trials, ("done", "running", "running"), strict=False):
        # The clock of the machine that wrote it may say anything.
        values = {"state": state, "heartbeat": "yesterday", "backbone": {"name": "mini"}, "step": 30, "max_steps": 120}
        write_json(trial.manifest_path, read_json(trial.manifest_path) | values)
    with trials[1].locked():
        found = status_of(tmp_path, plan)
    assert [one.state for one in found] == ["done", "running", "dead", "pending"]
    assert [one.share for one in found] == [1.0, 0.25, 0.25, 0.0]


@pytest.mark.parametrize("text", ["{", '{"draw": 3}', '{"state": "odd"}', "[" * 100_000])
def test_one_damaged_record_hides_no_other(text: str, plan: BatchPlan, tmp_path: Path) -> None:
    plan.save(tmp_path)
    Trial(tmp_path / plan.runs[1].name).manifest_path.write_text(text)
    shutil.rmtree(tmp_path / plan.runs[2].name)
    found = status_of(tmp_path, plan)
    assert [one.state for one in found] == ["pending", "damaged", "pending", "pending"]
    assert "run.json" in found[1].error
    assert any("1 damaged, 3 pending of 4" in line for line in printed(tmp_path, found, None))


def test_a_record_is_parsed_once_until_it_changes(
    plan: BatchPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan.save(tmp_path)
    loads, load = [], Manifest.load
    monkeypatch.setattr(Manifest, "load", lambda path: loads.append(path) or load(path))
    records = Records(tmp_path)
    for _ in range(5):
        assert [one.state for one in status_of(tmp_path, plan, records)] == ["pending"] * 4
    assert len(loads) == 4
    path = Trial(tmp_path / plan.runs[3].name).manifest_path
    Manifest(state="failed").save(path)
    assert [one.state for one in status_of(tmp_path, plan, records)] == ["pending"] * 3 + ["failed"]
    assert loads[4:] == [path]


def test_the_table_has_every_run_where_there_is_room(tmp_path: Path) -> None:
    runs = [run(i, "pending") for i in range(40)]
    text = "\n".join(printed(tmp_path / "caps", runs, None))
    assert all(one.name in text for one in runs) and "caps: 40 pending of 40, about 1 h 0 min left" in text


def test_a_low_terminal_shows_failures_and_what_is_at_work_and_always_the_sum(tmp_path: Path) -> None:
    runs = [run(i, "done", 1.0) for i in range(20)] + [run(i, "pending") for i in range(20, 38)]
    runs += [run(38, "running", 0.5), run(39, "failed", error="out of memory; " + "try less " * 30)]
    lines = printed(tmp_path / "caps", runs, 12)
    assert len(lines) <= 12
    assert "039-mushrooms" in lines[1] and "out of memory" in lines[1] and "038-mushrooms" in lines[2]
    assert any("20 done, 1 running, 1 failed, 18 pending of 40" in line for line in lines)
    listed = sum("mushrooms-" in line for line in lines)
    assert f"... and {40 - listed} more" in lines[listed + 1]


def test_a_plan_without_runs_is_an_empty_table(tmp_path: Path) -> None:
    assert any("of 0" in line for line in printed(tmp_path / "caps", [], None))


def test_time_left_counts_what_is_missing_at_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    pace = Pace([run(0, "running", 0.5), run(1, "pending")])
    assert pace.left([run(0, "running", 0.5), run(1, "pending")]) is None
    assert pace.left([run(0, "done", 1.0), run(1, "running", 0.5)]) == pytest.approx(20.0 / 1.0 * 0.5)


def test_status_of_a_batch_prints_once_where_there_is_no_terminal(
    plan: BatchPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan.save(tmp_path)
    trial = Trial(tmp_path / plan.runs[0].name)
    manifest: Manifest = trial.manifest()
    manifest.state, manifest.error = "failed", "the field is empty"
    manifest.save(trial.manifest_path)
    watch(tmp_path, plan)
    text = capsys.readouterr().out
    assert "the field is empty" in text and "1 failed, 3 pending of 4" in text and "GiB" in text
