"""run.json."""

import json
import time
from datetime import datetime
from pathlib import Path

import pytest

from dreamdist3d import __version__
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.runs import manifest as manifest_module
from dreamdist3d.runs.manifest import Manifest, current_versions


def test_round_trip(tmp_path: Path) -> None:
    manifest = Manifest(state="done", draw={"seed": 5, "gamma": 1.0}, config={"a": {"b": [1]}}, timings={"lift": 2.5})
    manifest.save(tmp_path / "run.json")
    assert Manifest.load(tmp_path / "run.json") == manifest


def test_the_file_is_true_at_every_moment(tmp_path: Path) -> None:
    path, manifest = tmp_path / "run.json", Manifest(error="an old one")
    with manifest.kept_true(path):
        assert (Manifest.load(path).state, Manifest.load(path).error) == ("running", None)
        manifest.end(None)
    assert Manifest.load(path).state == "done"


def test_the_heart_beats_while_the_work_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "HEARTBEAT_SECONDS", 0.05)
    path, manifest = tmp_path / "run.json", Manifest(max_steps=10)
    with manifest.kept_true(path):
        for step in (3, 7):
            manifest.at_step(step)
            deadline = time.monotonic() + 10
            while Manifest.load(path).step != step:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        manifest.end(None)
    found = Manifest.load(path)
    assert (found.state, found.step) == ("done", 7) and datetime.fromisoformat(found.heartbeat).tzinfo is not None


@pytest.mark.parametrize(
    ("error", "state", "line"),
    [
        (Stopped("stopped at step 3"), "stopped", "stopped at step 3"),
        (KeyboardInterrupt(), "stopped", "KeyboardInterrupt"),
        (UserError("no space"), "failed", "no space"),
        (ValueError("two\nlines"), "failed", "two lines"),
    ],
)
def test_the_end_of_the_work_is_recorded_and_passed_on(
    error: BaseException, state: str, line: str, tmp_path: Path
) -> None:
    manifest = Manifest()
    with pytest.raises(type(error)), manifest.kept_true(tmp_path / "run.json"):
        raise error
    found = Manifest.load(tmp_path / "run.json")
    assert (found.state, found.error) == (state, line)


def test_times_add_up_over_restarts() -> None:
    manifest = Manifest(timings={"lift": 10.0})
    with manifest.timed("lift"):
        pass
    with pytest.raises(ValueError), manifest.timed("export"):
        raise ValueError
    assert 10.0 <= manifest.timings["lift"] < 11.0 and "export" in manifest.timings


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"state": "odd"}), json.dumps({"stale": 1})])
def test_a_damaged_record_is_an_error_that_names_the_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(UserError, match="run.json"):
        Manifest.load(path)


def test_versions_name_this_package_and_torch() -> None:
    versions = current_versions()
    assert versions["dreamdist3d"] == __version__ and versions["torch"]
