"""A worker's decisions, with lifts that take no time."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from dreamdist3d.config import load_config
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.runs import worker as worker_module
from dreamdist3d.runs.batch import BatchOptions, reopen, tell_failures
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import BatchPlan, plan_batch
from dreamdist3d.runs.records import Records
from dreamdist3d.runs.trial import Trial
from dreamdist3d.runs.worker import Worker
from dreamdist3d.stopping import StopSignal

ROOT = Path(__file__).parents[2]


class Stub:
    """Stands in for weights, preparation and walk; each may be made to fail by a function of the run's folder."""

    def __init__(self) -> None:
        self.walked: list[str] = []
        self.loads = 0
        self.load = self.prepare = self.walk = lambda folder: None

    def open_models(self, system) -> object:
        self.loads += 1
        self.load(None)
        return object()

    def prepared(self, run, backbone):
        self.prepare(run.trial.folder)
        return run.trial

    def walked_through(self, trials) -> None:
        for trial in trials:
            self.walk(trial.folder)
            self.walked.append(trial.folder.name)
            trial.mesh.parent.mkdir(exist_ok=True)
            trial.mesh.write_bytes(b"glTF")
            manifest = trial.manifest()
            manifest.files = trial.results()
            manifest.end(None)
            manifest.save(trial.manifest_path)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    stub = Stub()
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(worker_module, "open_models", stub.open_models)
    monkeypatch.setattr(worker_module, "prepare", stub.prepared)
    monkeypatch.setattr(worker_module, "walk", stub.walked_through)
    return stub


@pytest.fixture
def plan(tmp_path: Path, stub: Stub) -> BatchPlan:
    plan = plan_batch(load_config("dreamdist3d/mini.yaml", ["system.prompt_processor.prompt=a cat"]), 3)
    plan.save(tmp_path)
    return plan


def states(folder: Path, plan: BatchPlan) -> list[tuple[str, int]]:
    found = [Trial(folder / run.name).manifest() for run in plan.runs]
    return [(one.state, one.attempts) for one in found]


def test_a_worker_does_every_run_once_with_one_load_of_the_weights(plan: BatchPlan, stub: Stub, tmp_path: Path) -> None:
    Worker(tmp_path).work_off()
    assert stub.walked == [run.name for run in plan.runs] and stub.loads == 1
    assert states(tmp_path, plan) == [("done", 1)] * 3


def test_a_stop_inside_a_run_is_no_ones_secret(plan: BatchPlan, stub: Stub, tmp_path: Path) -> None:
    def stopped_while_exporting(folder: Path) -> None:
        with StopSignal() as inner:  # the export takes the signal, and finishes all the same
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner.requested

    stub.walk = stopped_while_exporting
    with pytest.raises(Stopped):
        Worker(tmp_path).work_off()
    assert stub.walked == [plan.runs[0].name]
    assert states(tmp_path, plan) == [("done", 1), ("pending", 0), ("pending", 0)]


def test_a_removed_folder_and_a_damaged_record_are_made_again_from_the_plan(
    plan: BatchPlan, stub: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = (tmp_path / run.name for run in plan.runs)

    def spoil(folder: Path) -> None:
        if folder == first:
            shutil.rmtree(second)
            (third / "run.json").write_text("{")

    stub.walk = spoil
    Worker(tmp_path).work_off()
    assert states(tmp_path, plan) == [("done", 1)] * 3
    assert (third / "run.json.damaged").read_text() == "{" and "run.json.damaged" in capsys.readouterr().err
    assert Manifest.load(second / "run.json").config["seed"] == plan.runs[1].seed


@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory"), UserError("bad weights")])
def test_no_memory_to_load_weights_fails_the_run_alone_and_says_why(
    error: Exception, plan: BatchPlan, stub: Stub, tmp_path: Path
) -> None:
    def fail_at_first(_: None) -> None:
        if stub.loads == 1:
            if isinstance(error, UserError):
                raise error from MemoryError()
            raise error

    stub.load = fail_at_first
    Worker(tmp_path, retries=0).work_off()
    assert states(tmp_path, plan) == [("failed", 1), ("done", 1), ("done", 1)]
    assert "out of memory while the diffusion model was loaded" in Trial(tmp_path / plan.runs[0].name).manifest().error
    with pytest.raises(UserError, match="2 of 3 runs are done.*out of memory"):
        tell_failures(tmp_path, plan)


def test_missing_weights_end_the_batch(plan: BatchPlan, stub: Stub, tmp_path: Path) -> None:
    def missing(_: None) -> None:
        raise UserError("no weights")

    stub.load = missing
    with pytest.raises(UserError, match="no weights"):
        Worker(tmp_path).work_off()


def test_what_will_not_mend_itself_is_not_tried_again(plan: BatchPlan, stub: Stub, tmp_path: Path) -> None:
    calls = []

    def refuse(folder: Path) -> None:
        calls.append(folder.name)
        if folder.name == plan.runs[1].name:
            raise UserError("the prompt is too long")

    stub.prepare = refuse
    Worker(tmp_path, retries=5).work_off()
    assert calls == [run.name for run in plan.runs]
    assert states(tmp_path, plan) == [("done", 1), ("failed", 6), ("done", 1)]
    reopen(tmp_path, plan)
    assert states(tmp_path, plan) == [("done", 1), ("pending", 0), ("done", 1)]


@pytest.mark.parametrize("plant", [".lock/", "export@"])
def test_a_folder_that_cannot_be_worked_in_fails_alone(plant: str, plan: BatchPlan, stub: Stub, tmp_path: Path) -> None:
    place = tmp_path / plan.runs[1].name / plant[:-1]
    if plant.endswith("/"):
        place.mkdir()
    else:
        place.symlink_to(tmp_path)
    reopen(tmp_path, plan)
    Worker(tmp_path).work_off()
    assert [state for state, _ in states(tmp_path, plan)] == ["done", "failed", "done"]
    assert plant[:-1] in Trial(tmp_path / plan.runs[1].name).manifest().error
    assert not (tmp_path / "model.glb").exists()


def test_a_run_that_a_worker_left_over_finishes_meanwhile_stays_finished(
    plan: BatchPlan, stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Worker(tmp_path).work_off()
    monkeypatch.setattr(Records, "of", lambda self, name: plan.pending(tmp_path, plan.runs[0]))  # what was seen before
    reopen(tmp_path, plan)
    monkeypatch.undo()
    assert states(tmp_path, plan) == [("done", 1)] * 3


def test_a_finished_run_that_lost_a_file_is_open_again(plan: BatchPlan, stub: Stub, tmp_path: Path) -> None:
    Worker(tmp_path).work_off()
    Trial(tmp_path / plan.runs[1].name).mesh.write_bytes(b"g")
    reopen(tmp_path, plan)
    stub.walked.clear()
    Worker(tmp_path).work_off()
    assert stub.walked == [plan.runs[1].name] and states(tmp_path, plan) == [("done", 1)] * 3


def test_failures_are_told_of_folders_that_are_gone_and_records_that_are_damaged(
    plan: BatchPlan, stub: Stub, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / plan.runs[0].name)
    with pytest.raises(UserError, match="0 of 3.*its folder was removed"):
        tell_failures(tmp_path, plan)
    assert Records(tmp_path).any_open([plan.runs[0].name], 0)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"workers": -3}, "--workers"), ({"together": 0}, "--assets-per-worker"), ({"retries": -1}, "--retries")],
)
def test_options_no_batch_can_be_worked_off_with_are_refused(options: dict, name: str) -> None:
    with pytest.raises(UserError, match=rf"{name} is {next(iter(options.values()))}"):
        BatchOptions(**options)
