"""Batches: a plan that holds, workers that may die, and a folder that tells the truth."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.runs import batch as batch_module, walk
from dreamdist3d.runs.batch import last_line, open_batch, planned
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.plan import BatchPlan, plan_batch
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
