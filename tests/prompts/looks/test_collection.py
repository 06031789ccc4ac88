"""Pictures that go out to other tools, and the meshes that come back."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from dreamdist3d.backbones import load_backbone
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.prompts.looks.collection import (
    RECORD,
    DrawnPicture,
    check_collection,
    made_of,
    open_collection,
    picture_names,
    picture_of,
    write_collection,
)
from dreamdist3d.prompts.looks.pictures import Sampling

KNOWN = {name: DrawnPicture(name, {"seed": 7}, {}, {}) for name in ("000-caps-7", "001-caps-7-twin", "002-caps-70")}


@pytest.fixture(scope="module")
def backbone(tiny_backbone):
    return load_backbone(str(tiny_backbone))


@pytest.fixture(scope="module")
def learned(tiny_distribution):
    return PromptDistribution.load(tiny_distribution)


def two_pictures():
    """One object on white, and noise."""
    pictures = torch.ones(2, 3, 32, 32)
    pictures[0, :, 10:22, 8:20] = torch.tensor([0.8, 0.2, 0.1])[:, None, None]
    pictures[1] = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    return pictures


def written(out, backbone, learned):
    draws = [learned.draw(7, 1.5), learned.draw(7, antithetic=True)]
    names = picture_names("red caps", draws)
    origin = {"path": "/caps.safetensors", "sha256": learned.content_hash}
    check_collection(out, names)
    return names, write_collection(out, two_pictures(), draws, names, origin, backbone, Sampling(steps=2))


def test_every_picture_says_which_draw_it_is(backbone, learned, tmp_path):
    names, notes = written(tmp_path / "pictures", backbone, learned)
    assert names == ["000-red-caps-7", "001-red-caps-7-twin"]
    with Image.open(tmp_path / "pictures" / "000-red-caps-7.png") as image:
        assert image.mode == "RGBA" and image.size == (32, 32)
        told = json.loads(image.text["dreamdist3d"])
    assert told["draw"] == learned.draw(7, 1.5).to_dict() and told["distribution"]["sha256"] == learned.content_hash
    assert told["backbone"]["sha256"] == backbone.fingerprint and told["sampling"]["steps"] == 2
    known = open_collection(tmp_path / "pictures")
    assert list(known) == names and known[names[1]].origin["draw"] == {**told["draw"], "gamma": 1.0, "antithetic": True}
    assert notes == [(names[1], "not cut out: its background is not plain.")]


def test_what_cannot_be_cut_out_is_written_whole(backbone, learned, tmp_path):
    written(tmp_path, backbone, learned)
    with Image.open(tmp_path / "001-red-caps-7-twin.png") as image:
        assert image.mode == "RGB"
    entries = json.loads((tmp_path / RECORD).read_text())["pictures"]
    assert [entry["is_cut_out"] for entry in entries] == [True, False]


def test_the_same_draws_go_over_themselves_and_others_are_refused(backbone, learned, tmp_path):
    written(tmp_path, backbone, learned)
    names, _ = written(tmp_path, backbone, learned)
    with pytest.raises(UserError, match="2 pictures of other draws"):
        check_collection(tmp_path, [*names, "002-red-caps-8"])
    with pytest.raises(UserError, match="must name a folder"):
        check_collection(tmp_path / "grid.png", names)


@pytest.mark.parametrize("content", ["[]", "{}", '{"pictures": [], "distribution": 3, "backbone": {}}', "x"])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(UserError, match=RECORD):
        open_collection(tmp_path)


def test_a_folder_that_is_none_says_what_is_wanted(tmp_path):
    with pytest.raises(UserError, match="sample --cutout"):
        open_collection(tmp_path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("000-caps-7.glb", "000-caps-7"),
        ("000-CAPS-7_textured.glb", "000-caps-7"),
        ("001-caps-7-twin.obj", "001-caps-7-twin"),
        ("002-caps-70.glb", "002-caps-70"),
        ("002-caps-70-rgba/mesh.obj", "002-caps-70"),
        ("000-caps-7/0/textured/model.ply", "000-caps-7"),
        ("000-caps-71.glb", None),
        ("mesh.glb", None),
    ],
)
def test_meshes_are_known_by_their_names(path, name):
    found = picture_of(Path("made") / path, KNOWN)
    assert (found.name if found else None) == name


def test_one_mesh_for_each_picture_and_the_others_are_named(tmp_path):
    for name in ("000-caps-7/white.ply", "000-caps-7/textured.glb", "002-caps-70.obj", "mesh.glb", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    meshes, left = made_of(tmp_path, KNOWN)
    assert meshes == {
        "000-caps-7": tmp_path / "000-caps-7" / "textured.glb",
        "002-caps-70": tmp_path / "002-caps-70.obj",
    }
    reasons = {path.name: reason for path, reason in left}
    assert "second mesh of 000-caps-7; textured.glb" in reasons["white.ply"] and "none of the" in reasons["mesh.glb"]
    assert len(reasons) == 2
