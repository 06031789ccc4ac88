"""Reference images as files that the learner reads."""

import numpy as np
import pytest
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.mini.references import REFERENCE_SIZE, write_references
from dreamdist3d.prompts import load_references


def mean_colors(folder):
    """The mean colour of every picture's object, [N, 3]."""
    means = []
    for path in sorted(folder.iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=float)
        means.append(pixels[(pixels < 250).any(axis=-1)].mean(axis=0))
    return np.array(means)


def test_pictures_of_one_family_in_all_colors(tmp_path):
    write_references(tmp_path, "mug", count=13, seed=4)
    paths = sorted(tmp_path.iterdir())
    assert [p.name for p in paths] == [f"mug-{i:02d}.png" for i in range(13)]
    for path in paths:
        picture = Image.open(path)
        assert picture.size == (REFERENCE_SIZE, REFERENCE_SIZE) and picture.getpixel((0, 0)) == (255, 255, 255)
    colors = mean_colors(tmp_path)[:12] / 255
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    assert distances[np.triu_indices(12, 1)].mean() > 0.35
    assert len(load_references(tmp_path, 64).paths) == 13


def test_the_seed_decides(tmp_path):
    content = {}
    for name, seed in (("first", 0), ("same", 0), ("other", 1)):
        write_references(tmp_path / name, "mushroom", count=2, seed=seed)
        content[name] = [path.read_bytes() for path in sorted((tmp_path / name).iterdir())]
    assert content["first"] == content["same"] and content["first"] != content["other"]


def test_an_unknown_family_lists_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"'dragon'.*mushroom, chair.*car"):
        write_references(tmp_path, "dragon")
    assert not list(tmp_path.iterdir())


def test_no_pictures_is_no_request(tmp_path):
    with pytest.raises(UserError, match="at least one"):
        write_references(tmp_path, "mug", count=0)


def test_a_file_in_the_way_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken") as caught:
        write_references(tmp_path / "taken", "mug", count=1)
    assert "\n" not in str(caught.value)
