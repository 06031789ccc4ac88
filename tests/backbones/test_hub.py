"""Downloads, against a real HTTP server that stands in for the hub: mirrors, refusals, offline, damage."""

import errno
import hashlib
from pathlib import Path

import pytest

from dreamdist3d.backbones import hub as hub_module
from dreamdist3d.backbones.catalogue import HubSource, NamedWeights
from dreamdist3d.errors import UserError
from tests.backbones.fake_hub import COMMIT, FakeHub, fetch_in_process, hub_environment, serve

FILES = {"config.json": b"{}", "unet/weights.safetensors": b"weights" * 1000}
GATED, GONE = (401, "GatedRepo"), (404, "RepoNotFound")
TWO_MIRRORS = NamedWeights(
    "tiny", "tests", "none", tuple(HubSource(name, COMMIT, 2.6) for name in ("a/first", "b/second"))
)


def source(repository: str, files=tuple(FILES), **more) -> dict:
    return {"repository": repository, "revision": COMMIT, "size_gb": 0.1, "files": list(files), **more}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_the_second_mirror_serves_when_the_first_is_gone(home: Path) -> None:
    with serve(FakeHub({"a/first": GONE, "b/second": FILES})) as hub:
        got = fetch_in_process([source("a/first"), source("b/second")], hub_environment(home, hub.url))
    assert got["origin"] == f"b/second@{COMMIT}"
    folder = Path(got["path"])
    assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == FILES
    assert folder.name == COMMIT


def test_only_the_named_files_are_asked_for(home: Path) -> None:
    """A repository may hold pickles beside its safetensors, and every weight three times over."""
    held = {**FILES, "unet/weights.bin": b"a pickle", "whole.ckpt": b"another"}
    with serve(FakeHub({"a/first": held})) as hub:
        fetch_in_process([source("a/first")], hub_environment(home, hub.url))
    asked = {path for _, path in hub.requests if "/resolve/" in path}
    assert asked == {f"/a/first/resolve/{COMMIT}/{name}" for name in FILES}


def test_what_is_in_the_cache_is_taken_without_a_request(home: Path) -> None:
    with serve(FakeHub({"b/second": FILES})) as hub:
        environment = hub_environment(home, hub.url)
        first = fetch_in_process([source("b/second")], environment)
        asked = len(hub.requests)
        again = fetch_in_process([source("a/first"), source("b/second")], environment)
    assert again == first and len(hub.requests) == asked > 0


def test_a_single_checkpoint_file_is_its_own_path(home: Path) -> None:
    with serve(FakeHub({"a/first": {"four.pt": b"pt", "other.pt": b"no"}})) as hub:
        got = fetch_in_process([source("a/first", ["four.pt"])], hub_environment(home, hub.url))
    assert Path(got["path"]).name == "four.pt" and Path(got["path"]).read_bytes() == b"pt"
    assert not any("other.pt" in path for _, path in hub.requests)


def test_all_that_refuse_are_named_with_their_reasons(home: Path) -> None:
    short = {"config.json": b"{}"}
    held = {"a/gated": GATED, "b/short": short, "c/broken": (403, ""), "d/old": (404, "RevisionNotFound")}
    with serve(FakeHub(held)) as hub:
        asked = [source(name) for name in ("a/gated", "b/short", "c/broken", "d/old", "e/none")]
        line = fetch_in_process(asked, hub_environment(home, hub.url))["error"]
    assert "\n" not in line and "system.backbone" in line
    assert "a/gated is gated (accept its terms on the hub, then `hf auth login`)" in line
    assert "b/short lacks unet/weights.safetensors" in line and "c/broken answered 403" in line
    assert "d/old lacks the pinned commit" in line and "e/none is gone or private" in line


def test_offline_makes_no_request_at_all(home: Path) -> None:
    with serve(FakeHub({"a/first": FILES})) as hub:
        environment = hub_environment(home, hub.url)
        line = fetch_in_process([source("a/first")], {**environment, "HF_HUB_OFFLINE": "1"})["error"]
        assert hub.requests == []
        online = fetch_in_process([source("a/first")], environment)
        asked = len(hub.requests)
        offline = fetch_in_process([source("a/first")], {**environment, "HF_HUB_OFFLINE": "1"})
    assert "HF_HUB_OFFLINE" in line and "a/first" in line and "system.backbone" in line and str(home) in line
    assert offline == online and len(hub.requests) == asked


def test_a_mirror_with_other_weights_than_published_is_passed_over(home: Path) -> None:
    name = "unet/weights.safetensors"
    altered = {**FILES, name: b"others"}
    published = {"sha256": {name: hashlib.sha256(FILES[name]).hexdigest()}}
    with serve(FakeHub({"a/altered": altered, "b/true": FILES})) as hub:
        environment = hub_environment(home, hub.url)
        got = fetch_in_process([source("a/altered", **published), source("b/true", **published)], environment)
        line = fetch_in_process([source("a/altered", **published)], environment)["error"]
    assert got["origin"] == f"b/true@{COMMIT}"
    assert "another SHA-256 than published" in line and "delete" in line


def test_weights_damaged_in_the_cache_are_not_used(home: Path) -> None:
    with serve(FakeHub({"a/first": FILES})) as hub:
        environment = hub_environment(home, hub.url)
        folder = Path(fetch_in_process([source("a/first")], environment)["path"])
        blob = (folder / "unet/weights.safetensors").resolve()
        blob.write_bytes(blob.read_bytes()[:-1] + b"?")
        line = fetch_in_process([source("a/first")], environment)["error"]
    assert str(blob) in line and "delete" in line


def test_a_hub_that_cannot_be_reached_is_one_line(home: Path) -> None:
    with serve(FakeHub({})) as hub:
        closed = hub.url
    line = fetch_in_process([source("a/first"), source("b/second")], hub_environment(home, closed))["error"]
    assert "a/first cannot be reached (ConnectError)" in line and "HF_ENDPOINT" in line and "\n" not in line
    assert "b/second" not in line


def test_a_download_that_breaks_off_goes_on_with_the_next_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = failing_downloads(monkeypatch, OSError("Consistency check failed"))
    with pytest.raises(UserError, match=r"a/first broke off \(OSError\); b/second broke off"):
        hub_module.fetch(TWO_MIRRORS)
    assert asked == ["a/first", "b/second"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_takes_no_weights_ends_the_search(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    asked = failing_downloads(monkeypatch, OSError(number, "no room"))
    with pytest.raises(UserError, match="cannot write 2.6 GB .*no room.*HF_HOME"):
        hub_module.fetch(TWO_MIRRORS)
    assert asked == ["a/first"]


def failing_downloads(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
    """Every download raises `error`; the list fills with the repositories that were asked."""
    asked = []

    def fail(repository: str, name: str, **_: object) -> str:
        asked.append(repository)
        raise error

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return asked
