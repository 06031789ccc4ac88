"""The whole road: what it does, and that it does nothing twice."""

from pathlib import Path

import pytest

from dreamdist3d import demo as road
from dreamdist3d.backbones import load_backbone
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import LearnConfig, PromptDistribution
from dreamdist3d.runs.batch import BatchOptions
from dreamdist3d.runs.plan import BatchPlan
from dreamdist3d.runs.trial import Trial


class Workers:
    """Stands in for the processes: finishes the open runs of a batch, up to `limit` of them."""

    def __init__(self, distribution: Path) -> None:
        self.distribution, self.limit, self.started = distribution, 99, []

    def __call__(self, folder: Path, plan: BatchPlan, options: BatchOptions) -> None:
        assert plan.run_config.system.prompt_processor.files == [str(self.distribution)]
        for run in plan.runs:
            manifest = Trial(folder / run.name).manifest()
            if manifest.state == "done":
                continue
            if len(self.started) == self.limit:
                raise UserError(f"{run.name} failed")
            self.started.append(run.name)
            manifest.state = "done"
            manifest.save(Trial(folder / run.name).manifest_path)


@pytest.fixture
def workers(tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workers:
    found = Workers(tmp_path / "mug.safetensors")
    monkeypatch.setattr(road, "load_backbone", lambda name: load_backbone(str(tiny_backbone)))
    monkeypatch.setattr(road, "preset_for", lambda backbone: LearnConfig(prompts=2, tokens=1, samples=1, steps=1))
    monkeypatch.setattr(road, "work_off", found)
    monkeypatch.setattr(road, "evaluate", lambda sets, references, out: found.started.append((sets, references)))
    monkeypatch.setattr(road, "REFERENCES", 2)
    return found


def test_the_road_from_references_to_report(workers: Workers, tmp_path: Path) -> None:
    said: list[str] = []
    assert road.demo(tmp_path, 2, "mug", said.append) == tmp_path / "report" / "report.html"
    assert [line[:3] for line in said] == ["1/4", "2/4", "3/4", "4/4"]
    names = [run.name for run in BatchPlan.load(tmp_path / "mug").runs]
    assert len(set(names)) == 2
    assert workers.started == [*names, ([tmp_path / "mug"], tmp_path / "references" / "mug")]
    assert len(list((tmp_path / "references" / "mug").glob("*.png"))) == 2


def test_a_second_walk_does_only_what_is_missing(workers: Workers, tmp_path: Path) -> None:
    workers.limit = 1
    with pytest.raises(UserError, match="001-mug.* failed"):
        road.demo(tmp_path, 3, "mug", print)
    names = [run.name for run in BatchPlan.load(tmp_path / "mug").runs]
    done = tmp_path / "mug" / names[0]
    kept = {p: p.stat().st_mtime_ns for folder in (done, tmp_path / "references") for p in folder.rglob("*.*")}
    kept[workers.distribution] = workers.distribution.stat().st_mtime_ns
    workers.started, workers.limit = [], 99
    road.demo(tmp_path, 3, "mug", print)
    assert workers.started[:-1] == names[1:]
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())


def test_a_folder_of_another_distribution_is_not_gone_on_with(workers: Workers, tmp_path: Path) -> None:
    road.demo(tmp_path, 1, "mug", print)
    old = PromptDistribution.load(workers.distribution)
    PromptDistribution(old.tokens + 1, old.covariance, old.encoder_fingerprint).save(workers.distribution)
    with pytest.raises(UserError, match="mug.safetensors is not what .* was planned with"):
        road.demo(tmp_path, 1, "mug", print)


def test_an_unknown_family_is_an_error(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no family 'dragon'"):
        road.demo(tmp_path, 1, "dragon", print)
