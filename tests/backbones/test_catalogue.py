"""The known weights: pinned, free of pickles where there is a choice, and told as they lie on this disk."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from dreamdist3d.backbones import hashes, survey
from dreamdist3d.backbones.catalogue import CATALOGUE, HubSource
from dreamdist3d.cli.weights import backbones_list
from tests.backbones.fake_hub import put_in_cache

SOURCES = [source for weights in CATALOGUE.values() for source in weights.sources]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache and our memory of hashes, in a folder of the test's own."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def states() -> dict[str, str]:
    return {entry.origin: entry.state for entry in survey.survey()}


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_every_source_is_pinned_to_a_commit(source: HubSource) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", source.revision) and re.fullmatch(r"[\w.-]+/[\w.-]+", source.repository)
    assert set(source.sha256) <= set(source.weight_files)
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in source.sha256.values())


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_no_pickle_is_downloaded_from_a_folder(source: HubSource) -> None:
    """The one original checkpoint is a `.pt`, which is read as tensors alone."""
    endings = {Path(name).suffix for name in source.files}
    assert endings == ({".pt"} if len(source.files) == 1 else {".json", ".txt", ".safetensors"})


@pytest.mark.parametrize("name", ["sd15", "sd21"])
def test_mirrors_of_the_same_weights_have_the_same_hashes(name: str) -> None:
    first, second = CATALOGUE[name].sources
    assert first.sha256 == second.sha256 and set(first.sha256) == set(first.weight_files)


def test_an_empty_machine_has_the_packaged_weights_alone() -> None:
    assert set(states().values()) == {"absent", "packaged"} and states()["this package"] == "packaged"


def test_weights_in_the_cache_are_verified_by_their_content(empty_cache: Path) -> None:
    single = CATALOGUE["mvdream"].sources[1]
    snapshot = put_in_cache(empty_cache, single)
    origin = f"{single.repository}/{single.files[0]}"
    assert states()[origin] == "verified"
    assert {e.origin: e.path for e in survey.survey()}[origin] == snapshot / single.files[0]
    blob = (snapshot / single.files[0]).resolve()
    blob.write_bytes(b"WEIGHTS")
    assert states()[origin] == "damaged"


def test_published_hashes_count_more_than_what_a_mirror_says(empty_cache: Path) -> None:
    mirror = CATALOGUE["sd21"].sources[1]
    put_in_cache(empty_cache, mirror)
    assert states()[mirror.repository] == "damaged"


def test_an_incomplete_download_is_absent(empty_cache: Path) -> None:
    source = CATALOGUE["mvdream"].sources[0]
    snapshot = put_in_cache(empty_cache, source)
    assert states()[source.repository] == "verified"
    (snapshot / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert states()[source.repository] == "absent"


def test_copies_without_a_hash_in_their_name_are_unverified(empty_cache: Path) -> None:
    """Where links cannot be made, the hub's client puts the files themselves into the snapshot."""
    source = CATALOGUE["mvdream"].sources[1]
    file = put_in_cache(empty_cache, source) / source.files[0]
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)
    assert states()[f"{source.repository}/{source.files[0]}"] == "unverified"


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, hashed = tmp_path / "weights.safetensors", []
    file.write_bytes(b"one")

    def counted(path: Path) -> str:
        hashed.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(hashes, "sha256_of", counted)
    assert hashes.remembered_sha256(file) == hashes.remembered_sha256(file) == hashlib.sha256(b"one").hexdigest()
    assert len(hashed) == 1
    file.write_bytes(b"other")
    assert hashes.remembered_sha256(file) == hashlib.sha256(b"other").hexdigest() and len(hashed) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1', '{"FILE": 3}', '{"FILE": [1, 2]}'])
def test_a_damaged_memory_of_hashes_is_forgotten(tmp_path: Path, content: str) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"one")
    (tmp_path / "dreamdist3d-sha256.json").write_text(content.replace("FILE", str(file)))
    assert hashes.remembered_sha256(file) == hashlib.sha256(b"one").hexdigest()


def test_the_list_names_every_source_whole(capsys: pytest.CaptureFixture[str], empty_cache: Path) -> None:
    snapshot = put_in_cache(empty_cache, CATALOGUE["mvdream"].sources[1])
    backbones_list()
    shown = capsys.readouterr().out
    for weights in CATALOGUE.values():
        assert weights.name in shown and weights.licence in " ".join(shown.split())
        assert all(source.repository in shown for source in weights.sources)
    assert "yes, SHA-256 verified" in shown and str(snapshot) in shown


def test_the_catalogue_is_read_without_torch() -> None:
    script = "import sys, dreamdist3d.backbones.survey as s; s.survey(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
