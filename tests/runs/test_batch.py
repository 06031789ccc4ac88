"""Batches: a plan that holds, workers that may die, and a folder that tells the truth."""

import json
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.runs import batch as batch_module, walk
from dreamdist3d.runs.batch import BatchOptions, appended, last_line, open_batch, planned, work_off
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import BatchPlan, plan_batch
from dreamdist3d.runs.trial import Trial
from dreamdist3d.runs.worker import Worker

pytestmark = pytest.mark.usefixtures("in_the_checkout")


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
    assert planned(tmp_path / "cats", config, 2, "independent") == BatchPlan.load(tmp_path / "cats")
    other = load_config("dreamdist3d/mini.yaml", [*overrides, "trainer.max_steps=4"])
    for changed, count, draws, named in (
        (config, 3, "independent", "--runs=2, not 3"),
        (config, 2, "spread", "--draws='independent', not 'spread'"),
        (other, 2, "independent", "trainer.max_steps=3, not 4"),
    ):
        with pytest.raises(UserError, match=named):
            planned(tmp_path / "cats", changed, count, draws)


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
        planned(tmp_path / "cats", config, 2, "independent")


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


def test_one_batch_at_a_time(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "_LEAVING_SECONDS", 0.3)
    asked = (tmp_path / "cats", config, 2, "independent")
    with open_batch(*asked) as plan:
        before = (tmp_path / "cats" / "batch.json").read_bytes()
        with pytest.raises(UserError, match=rf"another batch is at work.*process {os.getpid()}"), open_batch(*asked):
            pass
        assert (tmp_path / "cats" / "batch.json").read_bytes() == before
    with open_batch(*asked) as again:
        assert again == plan


def test_a_batch_that_is_leaving_is_waited_for(config: RunConfig, tmp_path: Path) -> None:
    def second() -> BatchPlan:
        with open_batch(tmp_path / "cats", config, 2, "independent") as found:
            return found

    with ThreadPoolExecutor(1) as pool:
        with open_batch(tmp_path / "cats", config, 2, "independent") as plan:
            waiting = pool.submit(second)
            time.sleep(0.3)
            assert not waiting.done()
        assert waiting.result() == plan


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


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "..", "", "x" * 5000, ".hidden"])
def test_no_name_in_a_plan_leaves_the_folder(name: str, config: RunConfig, tmp_path: Path) -> None:
    plan_batch(config, 2).save(tmp_path)
    path = tmp_path / "batch.json"
    content = json.loads(path.read_text())
    content["runs"][0]["name"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"batch\.json: runs.*name=.*plain name") as caught:
        BatchPlan.load(tmp_path)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"version": "99.0.0"}, "version='99.0.0'"),
        ({"version": "new"}, "version='new'"),
        ({"config": {"trainer": {"max_steps": 0}}}, "max_steps=0"),
        ({"runs": [{"name": "a", "seed": 1}, {"name": "A", "seed": 2}]}, "different names"),
        ({"runs": [{"name": "a", "seed": -1}]}, "seed=-1"),
        ({"runs": [{"name": "a", "seed": 1, "draw_seed": 2**40}]}, "draw_seed="),
    ],
)
def test_a_plan_is_checked_where_it_is_read(change: dict, part: str, config: RunConfig, tmp_path: Path) -> None:
    plan_batch(config, 2).save(tmp_path)
    path = tmp_path / "batch.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=part):
        BatchPlan.load(tmp_path)


def test_a_prompt_that_is_too_long_is_refused_before_anything_is_written(overrides: list[str], tmp_path: Path) -> None:
    text = ["system.prompt_processor.distribution=null", f"system.prompt_processor.prompt={'cat ' * 400}"]
    long = load_config("dreamdist3d/mini.yaml", [*overrides, *text])
    with (
        pytest.raises(UserError, match="prompt has .* tokens"),
        open_batch(tmp_path / "cats", long, 2, "independent"),
    ):
        pass
    assert not (tmp_path / "cats").exists()


def test_a_log_that_is_a_link_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "worker-0.log").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match=r"worker-0\.log must be a plain file"):
        appended(tmp_path / "worker-0.log")
    with appended(tmp_path / "worker-1.log") as log:
        assert Path(log.name) == tmp_path / "worker-1.log"


class Idle:
    """A worker that waits to be stopped."""

    def __init__(self) -> None:
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.returncode = 130

    kill = terminate

    def wait(self) -> int:
        assert self.returncode is not None
        return self.returncode


def test_a_batch_whose_folder_is_emptied_ends_its_workers_and_says_why(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers: list[Idle] = []

    def spawn(self: object, place: int) -> Idle:
        workers.append(Idle())
        if len(workers) == 2:
            shutil.rmtree(tmp_path / "cats")
        return workers[-1]

    monkeypatch.setattr(batch_module._Workers, "_spawn", spawn)
    with (
        open_batch(tmp_path / "cats", config, 3, "independent") as plan,
        pytest.raises(UserError, match=r"batch\.json was removed while the batch was at work"),
    ):
        work_off(tmp_path / "cats", plan, BatchOptions(workers=2))
    assert [worker.returncode for worker in workers] == [130, 130]


def test_a_batch_waits_for_an_orphan_and_names_it(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    orphan = threading.Event()

    def spawn(self: batch_module._Workers, place: int) -> Idle:
        assert orphan.is_set()  # nobody is started while there is nothing to take
        for run in self.plan.runs:
            trial = Trial(self.folder / run.name)
            manifest = trial.manifest()
            manifest.end(None)
            manifest.save(trial.manifest_path)
        worker = Idle()
        worker.returncode = 0
        return worker

    monkeypatch.setattr(batch_module._Workers, "_spawn", spawn)
    with open_batch(tmp_path / "cats", config, 1, "independent") as plan:
        held = Trial(tmp_path / "cats" / plan.runs[0].name).locked()
        held.__enter__()

        def leave() -> None:
            time.sleep(0.5)
            orphan.set()
            held.__exit__(None, None, None)

        with ThreadPoolExecutor(1) as pool:
            left = pool.submit(leave)
            work_off(tmp_path / "cats", plan, BatchOptions(workers=1))
            left.result()
    assert f"waiting for process {os.getpid()}, which is still at work in" in capsys.readouterr().err
