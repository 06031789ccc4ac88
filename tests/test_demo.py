"""The whole road: what it does, and that it does nothing twice."""

from pathlib import Path

import pytest

from dreamdist3d import demo as road
from dreamdist3d.backbones import load_backbone
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import LearnConfig, PromptDistribution
from dreamdist3d.runs.manifest import Manifest


class Workers:
    """Stands in for the processes: finishes the runs it is given, up to `limit` of them."""

    def __init__(self, distribution: Path) -> None:
        self.distribution, self.limit, self.started = distribution, 99, []

    def __call__(self, jobs, at_once: int) -> None:
        for job in jobs:
            if len(self.started) == self.limit:
                raise UserError(f"{job.name} failed")
            self.started.append(job.name)
            options = dict(option.split("=", 1) for option in job.command if "=" in option)
            folder = Path(options["exp_root_dir"]) / options["name"] / options["tag"]
            assert options["system.prompt_processor.distribution"] == str(self.distribution)
            sha256 = PromptDistribution.load(self.distribution).content_hash
            Manifest(state="done", distribution={"path": "", "sha256": sha256}).save(folder / "run.json")


@pytest.fixture
def workers(tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workers:
    found = Workers(tmp_path / "mug.safetensors")
    monkeypatch.setattr(road, "load_backbone", lambda name: load_backbone(str(tiny_backbone)))
    monkeypatch.setattr(road, "preset_for", lambda backbone: LearnConfig(prompts=2, tokens=1, samples=1, steps=1))
    monkeypatch.setattr(road, "run_jobs", found)
    monkeypatch.setattr(road, "evaluate", lambda sets, references, out: found.started.append((sets, references)))
    monkeypatch.setattr(road, "REFERENCES", 2)
    return found


def test_the_road_from_references_to_report(workers: Workers, tmp_path: Path) -> None:
    said: list[str] = []
    assert road.demo(tmp_path, 2, "mug", said.append) == tmp_path / "report" / "report.html"
    assert [line[:3] for line in said] == ["1/4", "2/4", "3/4", "4/4"]
    assert workers.started == ["mug asset-1", "mug asset-2", ([tmp_path / "mug"], tmp_path / "references" / "mug")]
    assert len(list((tmp_path / "references" / "mug").glob("*.png"))) == 2


def test_a_second_walk_does_only_what_is_missing(workers: Workers, tmp_path: Path) -> None:
    workers.limit = 1
    with pytest.raises(UserError, match="mug asset-2 failed"):
        road.demo(tmp_path, 3, "mug", print)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    workers.started, workers.limit = [], 99
    road.demo(tmp_path, 3, "mug", print)
    assert workers.started[:-1] == ["mug asset-2", "mug asset-3"]
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())


def test_runs_of_another_distribution_are_not_taken_for_done(workers: Workers, tmp_path: Path) -> None:
    road.demo(tmp_path, 1, "mug", print)
    old = PromptDistribution.load(workers.distribution)
    PromptDistribution(old.tokens + 1, old.covariance, old.encoder_fingerprint).save(workers.distribution)
    workers.started = []
    road.demo(tmp_path, 1, "mug", print)
    assert workers.started[0] == "mug asset-1"


def test_an_unknown_family_is_an_error(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no family 'dragon'"):
        road.demo(tmp_path, 1, "dragon", print)
