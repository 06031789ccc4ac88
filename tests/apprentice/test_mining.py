"""From folders, and from the miniature world, to clusters on disk."""

import numpy as np
import pytest
import torch
from PIL import Image

from dreamdist3d.apprentice.inputs import LatentPatches, patches_of
from dreamdist3d.apprentice.mining import FolderSettings, WorldSettings, mine_folders, mine_world, why_not
from dreamdist3d.errors import UserError


class MeanColor:
    """A judge that sees the mean colour alone."""

    name = model_id = resize = "mean colour"

    def encode(self, images):
        return torch.nn.functional.normalize(torch.stack([image.mean(dim=(1, 2)) for image in images]), dim=1)


def paint(folder, *colors):
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for index, color in enumerate(colors):
        pixels = np.clip(noise.normal(color, 40, (20, 20, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


RED, ROSE, BLUE = (220, 30, 30), (200, 80, 70), (30, 30, 220)


@pytest.fixture
def source(tmp_path):
    paint(tmp_path / "in" / "apple", RED, ROSE, (160, 40, 30))
    paint(tmp_path / "in" / "few", RED, ROSE)
    paint(tmp_path / "in" / "mixed", RED, BLUE, (30, 220, 30))
    paint(tmp_path / "in" / "pepper", RED, ROSE, (210, 90, 50), (230, 60, 90))
    (tmp_path / "in" / "empty").mkdir()
    (tmp_path / "in" / "apple" / "1.txt").write_text("a red apple\nan apple\n")
    return tmp_path / "in"


def mined(backbone, source, out, **settings):
    wanted = FolderSettings(similar=(0.82, 0.9999), **settings)
    return mine_folders(backbone, source, out, LatentPatches(), MeanColor(), wanted)


def test_folders_are_clusters_unless_a_reason_says_otherwise(backbone, source, tmp_path):
    bank = mined(backbone, source, tmp_path / "out")
    assert [(one.name, len(one.pictures)) for one in bank.clusters] == [("apple", 3), ("pepper", 4)]
    assert all(one.targets == one.pictures for one in bank.clusters)
    assert bank.mined.failed == 1
    assert sum(bank.mined.filtered.values()) == 3
    assert "fewer than 3 pictures" in bank.mined.filtered
    assert [picture.captions for picture in bank.pictures[:2]] == [(), ("a red apple", "an apple")]
    assert bank.latents(bank.clusters[1].pictures).shape == (4, 4, 8, 8)
    assert bank.inputs([0]) is None
    assert bank.input_shape == (16, 16)


def test_what_is_mined_is_read_back_as_it_was_encoded(backbone, source, tmp_path):
    from dreamdist3d.prompts import load_references
    from dreamdist3d.prompts.learning.images import encode_references

    bank = mined(backbone, source, tmp_path / "out")
    own = encode_references(backbone, load_references(source / "pepper", 16).pixels).mean
    torch.testing.assert_close(bank.latents(bank.clusters[1].pictures), own, atol=5e-3, rtol=1e-3)


def test_mining_goes_on_and_does_nothing_twice(backbone, source, tmp_path, monkeypatch):
    from dreamdist3d.apprentice import mining

    monkeypatch.setattr(mining, "FOLDERS_A_SHARD", 2)
    whole = mined(backbone, source, tmp_path / "whole")
    shard = mining.shard_path(tmp_path / "out", 0)
    shard.parent.mkdir(parents=True)
    shard.write_bytes(mining.shard_path(whole.folder, 0).read_bytes())
    made = []
    real = mining._folder_shard
    monkeypatch.setattr(mining, "_folder_shard", lambda *given: (made.append(given[2]), real(*given)))
    assert mined(backbone, source, tmp_path / "out").clusters == whole.clusters
    assert made == [1, 2]
    assert mined(backbone, source, tmp_path / "out").clusters == whole.clusters
    assert made == [1, 2]


def test_nothing_to_mine_and_another_backbones_folder_are_told(backbone, source, tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        mined(backbone, tmp_path / "none", tmp_path / "a")
    with pytest.raises(UserError, match="holds no folders"):
        mined(backbone, source / "apple", tmp_path / "b")
    bank = mined(backbone, source, tmp_path / "out")
    path = bank.folder / "mined.json"
    path.write_text(path.read_text().replace(backbone.fingerprint, "fp16-0"))
    with pytest.raises(UserError, match="choose another folder"):
        mined(backbone, source, tmp_path / "out")


def test_copies_and_strangers_are_no_cluster():
    alike = torch.full((3, 3, 4, 4), 0.5)
    assert "more alike" in why_not(alike, MeanColor())
    strangers = torch.eye(3)[..., None, None].expand(3, 3, 4, 4) * 2 - 1
    assert "less alike" in why_not(strangers, MeanColor())
    assert "fewer than 3" in why_not(alike[:2], MeanColor())


def test_the_miniature_world_is_mined_with_its_captions(tmp_path):
    from dreamdist3d.backbones import load_backbone

    backbone = load_backbone("mini")
    bank = mine_world(backbone, tmp_path, WorldSettings(objects=20, clusters=12))
    assert len(bank.pictures) == 20 * 16
    assert {one.split for one in bank.clusters} >= {"train", "unknown"}
    for cluster in bank.clusters:
        subjects = {bank.pictures[place].source for place in cluster.pictures}
        assert len(subjects) == (1 if cluster.kind == "instance" else len(cluster.pictures))
    assert all("{}" in picture.edited for picture in bank.pictures)
    assert patches_of(bank.latents([0])).shape == (1, *bank.input_shape)
