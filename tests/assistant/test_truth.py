"""What is said of pictures, held against the truth behind held-out renders."""

import pytest
import torch

from dreamdist3d.assistant.intentions import Change
from dreamdist3d.assistant.pictures import GROUP, changes_between, make_group
from dreamdist3d.assistant.truth import background_of, color_shares, colors_in, main_color, shows_color, verdicts
from dreamdist3d.mini.palette import COLOR_NAMES


@pytest.fixture(scope="module")
def groups():
    return [make_group(99, index) for index in range(20)]


def test_a_group_is_one_thing_with_one_change_each(groups):
    for pictures, seen in groups:
        assert pictures.shape == (GROUP, 3, 64, 64) and len({one.family for one in seen}) == 1
        for after in seen[1:]:
            kinds = {change.kind for change in changes_between(seen[0], after)}
            assert len(kinds - {"second"}) == 1
            assert seen[0].after(changes_between(seen[0], after)) == after
    again = make_group(99, 3)
    assert torch.equal(again[0], groups[3][0]) and again[1] == groups[3][1]


def test_main_colours_are_right(groups):
    plain = [
        (p[i], seen[i])
        for p, seen in groups
        for i in range(GROUP)
        if seen[i].pattern == "plain" and seen[i].material == "matt"
    ]
    right = [main_color(picture, seen.family) == seen.color for picture, seen in plain]
    assert len(right) > 5 and sum(right) / len(right) >= 0.7  # a roof or an icing may be fuller than its walls


def test_colours_that_are_there_are_seen_and_others_are_not(groups):
    there, not_there = [], []
    for pictures, seen in groups:
        for picture, one in zip(pictures, seen, strict=True):
            named = {one.color, one.part_color, one.second}
            there.append(shows_color(picture, one.color))
            not_there += [shows_color(picture, name) for name in COLOR_NAMES if name not in named]
    assert sum(there) / len(there) >= 0.9
    assert sum(not_there) / len(not_there) <= 0.2  # windows, doors, eyes and flames have colours of their own
    assert sum(color_shares(groups[0][0][0]).values()) == pytest.approx(1.0)


def test_verdicts_agree_with_the_truth_and_contradict_lies(groups):
    true, false = [], []
    for pictures, seen in groups:
        for picture, one in zip(pictures, seen, strict=True):
            lies = [name for name in COLOR_NAMES if name not in (one.color, one.second, one.part_color)]
            found = verdicts(picture, [Change("color", name) for name in (one.color, *lies[::3])], one)
            true.append(found[0].holds)
            false += [verdict.holds for verdict in found[1:]]
    assert sum(true) / len(true) >= 0.9 and sum(false) / len(false) <= 0.05


def test_what_cannot_be_measured_has_no_verdict(groups):
    picture, seen = groups[0][0][0], groups[0][1][0]
    (found,) = verdicts(picture, [Change("material", "glossy")], seen)
    assert found.holds is None and found.measured == ""
    uneven = torch.linspace(0, 1, 64).expand(3, 64, 64)
    assert background_of(uneven) == "uneven" and background_of(picture) == "plain"
    color, background = verdicts(uneven, [Change("color", "red"), Change("background", "gradient")], seen)
    assert color.holds is None and background.holds


def test_shapes_are_held_against_the_picture_before():
    def boxed(height, width):
        picture = torch.ones(3, 64, 64)
        picture[:, 32 - height // 2 : 32 + height // 2, 32 - width // 2 : 32 + width // 2] = 0.2
        return picture

    seen = make_group(99, 3)[1][0]
    for word, holds in (("tall", True), ("wide", False), ("narrow", True), ("fat", False)):
        (found,) = verdicts(boxed(40, 20), [Change("shape", word)], seen, before=boxed(30, 30))
        assert found.holds is holds
    (found,) = verdicts(boxed(40, 20), [Change("shape", "tall")], seen, before=boxed(40, 20))
    assert found.holds is False and found.measured == "the same"
    assert verdicts(boxed(40, 20), [Change("shape", "round")], seen, boxed(40, 20))[0].holds is None


def test_an_empty_picture_has_no_colours():
    blank = torch.ones(3, 64, 64)
    assert color_shares(blank) == {} and main_color(blank, "mug") == "" and not shows_color(blank, "white")


def test_colours_in_a_text():
    assert colors_in("Blue, white and a redder teal.") == ["teal", "blue", "white"]
