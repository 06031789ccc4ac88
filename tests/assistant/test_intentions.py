"""Plans as text: what is written is read again, and what is no plan is refused."""

import pytest

from dreamdist3d.assistant.intentions import Change, Plan, Seen, read_plan, read_seen, write_plan, write_seen

SEEN = Seen("mug", "red", "striped", "glossy", "blue", "white", "tall")
BARE = Seen("mug", "red", part_color="blue")


@pytest.mark.parametrize("seen", [SEEN, BARE])
def test_what_is_seen_is_written_and_read_again(seen):
    assert read_seen(write_seen(seen).split()) == seen


def test_a_sight_without_family_or_colour_is_none():
    assert read_seen(["tall", "red"]) is None and read_seen(["tall", "mug", "red"]) is None


@pytest.mark.parametrize(
    "plan",
    [
        Plan(SEEN, "edit", ((Change("color", "teal"), Change("material", "matt")),), "the mug in teal ."),
        Plan(BARE, "wish", ((Change("color", "any"),), (Change("pattern", "dotted"),)), "let me play ."),
        Plan(BARE, "refuse", (), "i cannot do that ."),
        Plan(None, "answer", (), ""),
    ],
)
def test_a_plan_is_written_and_read_again(plan):
    assert read_plan(write_plan(plan)) == plan


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<see> red mug <edit> <do> color blue",  # no words
        "<see> red mug <edit> <say> done",  # an edit of nothing
        "<see> red mug <refuse> <do> color blue <say> no",  # a refusal that does something
        "<see> red mug <edit> <do> color <say> done",  # half a change
        "<see> red mug <edit> <do> color loud <say> done",
        "<see> red mug <edit> <do> sound red <say> done",
        "<see> red mug <edit> <wish> <do> color red <say> done",
    ],
)
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(ValueError):
        read_plan(text)


def test_changes_change_what_they_name_and_a_plain_thing_has_no_second_colour():
    after = SEEN.after([Change("color", "green"), Change("part", "pink"), Change("pattern", "any")])
    assert after == Seen("mug", "green", "striped", "glossy", "pink", "white", "tall")
    assert SEEN.after([Change("pattern", "plain")]).second == ""
    assert SEEN.after([Change("spread", "wider"), Change("again", "same")]) == SEEN
