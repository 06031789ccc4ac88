"""One rule for what is a picture, a mesh, a run."""

import sys
from pathlib import Path

import pytest
from PIL import Image, features

from dreamdist3d import discovery
from dreamdist3d.discovery import MESHES, files_in, folders_below, foreign_meshes_in, pictures_in
from dreamdist3d.errors import UserError
from dreamdist3d.files import safe_name
from dreamdist3d.prompts import load_references


def test_hidden_files_and_folders_are_nobodys_and_case_does_not_matter(tmp_path: Path):
    for name in ("a.GLB", "B.obj", "._a.glb", ".hidden.ply", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.glb").mkdir()
    assert [path.name for path in files_in(tmp_path, MESHES)] == ["B.obj", "a.GLB"]
    (tmp_path / "c.FBX").touch()
    assert foreign_meshes_in(tmp_path) == [(tmp_path / "c.FBX", "not read: save it as GLB")]


def test_links_are_followed_and_loops_end(tmp_path: Path):
    (tmp_path / "elsewhere" / "run").mkdir(parents=True)
    (tmp_path / "elsewhere" / "run" / "run.json").touch()
    (tmp_path / "elsewhere" / "a.glb").touch()
    here = tmp_path / "set"
    (here / ".trash" / "run").mkdir(parents=True)
    (here / ".trash" / "run" / "run.json").touch()
    (here / "linked").symlink_to(tmp_path / "elsewhere")
    (here / "again").symlink_to(tmp_path / "elsewhere")
    (here / "loop").symlink_to(here)
    (here / "a.glb").symlink_to(tmp_path / "elsewhere" / "a.glb")
    found = folders_below(here, lambda place: (place / "run.json").is_file(), 3)
    assert found == [here / "again" / "run"]
    assert files_in(here, MESHES) == [here / "a.glb"]


def test_every_format_that_pillow_opens_is_a_reference(tmp_path: Path):
    kinds = ["jpg", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"] + ["avif"] * features.check("avif")
    for number, kind in enumerate(kinds):
        form = {"jfif": "JPEG", "jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper())
        Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / f"{number}.{kind}", format=form)
    references = load_references(tmp_path, 8)
    assert len(references) == len(kinds) and references.skipped == []
    assert (references.pixels[:, 0] > 0.4).all() and (references.pixels[:, 1:] < -0.7).all()


def test_pictures_that_cannot_be_used_are_named_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for name in ("b.HEIC", "c.cr2", "d.psd"):
        (tmp_path / name).write_bytes(b"x")
    references = load_references(tmp_path, 8)
    reasons = {path.name: reason for path, reason in references.skipped}
    assert reasons.keys() == {"b.HEIC", "c.cr2", "d.psd"} and "pip install pillow-heif" in reasons["b.HEIC"]
    assert references.told == "1 of 4 pictures used"
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"b\.HEIC: HEIC needs"):
        load_references(tmp_path, 8)


def test_heic_is_read_where_its_package_is(tmp_path: Path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGB", (64, 64), (200, 10, 10))).save(tmp_path / "a.HEIC")
    assert pictures_in(tmp_path) == ([tmp_path / "a.HEIC"], [])
    references = load_references(tmp_path, 8)
    assert len(references) == 1 and (references.pixels[:, 0] > 0.4).all()
    assert discovery.PICTURES.count(".heic") == 0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Стул № 3", "Стул-3"),
        ("椅子", "椅子"),
        ("कुर्सी", "कुर्सी"),
        ("cafe\u0301", "caf\u00e9"),
        ("a/../b", "a-..-b"),
        ("spare wheel", "spare-wheel"),
        ("???", "unnamed"),
    ],
)
def test_names_of_any_script_stay_names(tmp_path: Path, text: str, name: str):
    assert safe_name(text) == name == safe_name(name)
    (tmp_path / name).touch()
    long = safe_name(text * 100)
    assert len(long.encode()) <= 160 and safe_name(long) == long
