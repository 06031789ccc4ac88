"""run.json."""

import json
from pathlib import Path

import pytest

from dreamdist3d import __version__
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.runs.manifest import Manifest, current_versions


def test_round_trip(tmp_path: Path) -> None:
    manifest = Manifest(state="done", draw={"seed": 5, "gamma": 1.0}, config={"a": {"b": [1]}}, timings={"lift": 2.5})
    manifest.save(tmp_path / "run.json")
    assert Manifest.load(tmp_path / "run.json") == manifest


def test_the_file_is_true_at_every_moment(tmp_path: Path) -> None:
    path, manifest = tmp_path / "run.json", Manifest(error="an old one")
    with manifest.recording(path):
        assert (Manifest.load(path).state, Manifest.load(path).error) == ("running", None)
    assert Manifest.load(path).state == "done"


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
    with pytest.raises(type(error)), manifest.recording(tmp_path / "run.json"):
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
