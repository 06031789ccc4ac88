"""Clusters of the miniature world."""

import pytest
import torch

from dreamdist3d.mini.clusters import (
    EDITS,
    UNKNOWN,
    VIEWS,
    edited_caption,
    eight_words,
    object_pictures,
    world_clusters,
)
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.palette import COLOR_NAMES


@pytest.fixture(scope="module")
def truth() -> list[dict]:
    return [{"family": list(FAMILIES)[i % 20], "main_color": COLOR_NAMES[i // 20 % 12]} for i in range(960)]


def test_clusters_are_what_their_kind_says(truth):
    found = world_clusters(truth, 300, seed=0)
    assert {one.kind for one in found} == {"family", "color", "families", "instance"}
    for one in found:
        objects = [index for index, _ in one.pictures]
        families = {truth[index]["family"] for index in objects}
        if one.kind == "instance":
            assert len(set(objects)) == 1
            assert set(one.pictures) < set(one.targets)
            assert len({view for _, view in one.targets}) == VIEWS
        else:
            assert len(set(objects)) == len(objects) <= 20
            assert len(families) <= (2 if one.kind == "families" else 1)
        if one.kind == "color":
            assert len({truth[index]["main_color"] for index in objects}) == 1
        assert len({view < VIEWS for _, view in one.pictures}) == 1  # all on white, or all in scenes


def test_held_out_objects_and_families_are_in_no_cluster_to_learn_from(truth):
    found = world_clusters(truth, 300, seed=0)
    objects = {
        split: {i for one in found if one.split == split for i, _ in one.pictures} for split in ("train", "known")
    }
    assert not objects["train"] & objects["known"]
    seen = {split: {truth[i]["family"] for one in found if one.split == split for i, _ in one.pictures} for split in
            ("train", "known", "unknown")}  # fmt: skip
    assert seen["known"] < seen["train"] == set(FAMILIES) - set(UNKNOWN)
    assert seen["unknown"] == set(UNKNOWN)


def test_a_cluster_depends_on_seed_and_number_alone(truth):
    few, many = world_clusters(truth, 20, seed=0), world_clusters(truth, 50, seed=0)
    assert [one for one in few if one.split == "train"] == [one for one in many if one.split == "train"][:20]


def test_pictures_come_on_white_and_in_scenes_with_captions_that_say_so():
    made = object_pictures(seed=3, index=0)
    assert made.pixels.shape == (2 * VIEWS, 3, 64, 64)
    assert torch.equal(made.pixels[:VIEWS, :, 0, 0], torch.ones(VIEWS, 3))
    assert len(made.captions) == 2 * VIEWS
    assert all("background" not in said[0] for said in made.captions[:VIEWS])
    assert [said[0] for said in made.captions[:VIEWS]] == [made.truth["captions"][0]] * VIEWS


def test_words_and_edits_are_of_the_grammar():
    plain = {"family": "house", "main_color": "orange", "second_color": "", "pattern": "plain", "material": "matt",
             "part": "roof", "part_color": "red", "shape_words": [], "part_words": []}  # fmt: skip
    assert eight_words(plain) == "a matt plain orange house with red roof"
    assert eight_words({**plain, "second_color": "blue", "pattern": "striped"}) == (
        "matt striped orange and blue house red roof"
    )
    assert edited_caption(plain).format(EDITS[0]) == "a red house with a red roof"
    assert edited_caption({**plain, "part": "legs"}) == "{} house with red legs"
    assert len(EDITS) == 12
