"""Pairs of the miniature world are true: what differs is what the words say."""

import pytest
import torch

from dreamdist3d.assistant.generator.scenes import make_scene, pairs_of, scenes
from dreamdist3d.assistant.pictures import changes_between


@pytest.fixture(scope="module")
def scene():
    return make_scene(5, 4)  # a house


def test_all_pictures_share_view_and_ground(scene):
    pictures, seen = scene
    assert pictures.shape == (6, 3, 64, 64) and len({one.family for one in seen}) == 1
    assert len(pictures[:, :, 0, 0].unique(dim=0)) == 1
    outline = (pictures - pictures[:, :, :1, :1]).abs().amax(dim=1) > 0.02
    same = [float((outline[0] == outline[k]).float().mean()) for k in range(1, 6)]
    assert min(same[:4]) > 0.97 and same[4] < 0.97  # the last has another shape


def test_words_say_what_differs(scene):
    _, seen = scene
    for pair in pairs_of(seen):
        before, after = seen[pair.source], seen[pair.target]
        changes = changes_between(before, after)
        asked, whole, bare = pair.texts[0], pair.texts[-2], pair.texts[-1]
        assert all(change.value in asked.split() for change in changes)
        assert before.after(changes) == after or before.shape != after.shape
        assert after.color in whole.split() and bare == f"a {before.family}"
        if pair.source == pair.target:
            assert asked == bare


def test_another_shape_is_only_asked_for_by_its_word(scene):
    _, seen = scene
    reshaped = [p for p in pairs_of(seen) if (p.source == 5) != (p.target == 5)]
    assert reshaped
    for pair in reshaped:
        word = seen[pair.target].shape
        assert word and word != seen[pair.source].shape and word in pair.texts[0].split()


def test_the_seed_decides():
    first, again = (list(scenes(2, 3)) for _ in range(2))
    assert all(torch.equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], next(iter(scenes(1, 4)))[0])
