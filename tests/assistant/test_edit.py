"""Edits as values: words, seeds and weights that make a proposal again."""

import numpy as np
import pytest

from dreamdist3d.assistant.edit import Edit, all_asked, resolved, words_after, words_before
from dreamdist3d.assistant.intentions import VALUES, Change, Seen


def test_words_around_a_subject_are_captions():
    asked = {"color": "orange", "pattern": "striped", "second": "white", "material": "glossy", "shape": "tall"}
    assert words_before(asked) == "a tall glossy striped orange and white"
    assert words_before({"color": "orange"}) == "an orange" and words_before({}) == ""
    assert words_after({"part": "orange"}, "mug") == "with an orange handle"
    assert words_after({"part": "red", "background": "gradient"}, "chair") == "with red legs, gradient background"
    assert words_after({"background": "textured"}, "mug") == ", textured background"
    assert words_after({"background": "plain"}, "mug") == ""


def test_a_picture_keeps_what_nobody_asked_to_change():
    seen = Seen("mug", "red", "striped", "glossy", "blue", "white")
    assert all_asked(seen, {"color": "teal"}) == {
        "color": "teal", "second": "white", "pattern": "striped", "material": "glossy", "part": "blue",
        "background": "plain",
    }  # fmt: skip
    assert "second" not in all_asked(seen, {"pattern": "plain"})


def test_changes_lead_from_one_edit_to_the_next():
    edit = Edit().changed([Change("color", "red"), Change("pattern", "dotted"), Change("second", "white")])
    assert edit.asked == {"color": "red", "pattern": "dotted", "second": "white"}
    assert edit.changed([Change("pattern", "plain")]).asked == {"color": "red", "pattern": "plain"}
    again = edit.changed([Change("again", "same")])
    assert (again.draw_seed, again.noise_seed) != (edit.draw_seed, edit.noise_seed) and again.asked == edit.asked
    assert edit.changed([Change("mix", "first")]).weights == (0.75, 0.25)
    assert edit.changed([Change("reference", "third")]).references == (2,)
    assert edit.changed([Change("pick", "first"), Change("undo", "last")]) == edit


def test_gamma_stays_in_its_range():
    edit = Edit()
    for _ in range(20):
        edit = edit.changed([Change("spread", "wider")])
    assert edit.gamma == 3.0
    for _ in range(20):
        edit = edit.changed([Change("spread", "closer")])
    assert edit.gamma == 0.25


@pytest.mark.parametrize("kind", ["color", "pattern", "material"])
def test_any_is_drawn_and_differs_from_what_is_there(kind):
    seen = Seen("mug", "red", "striped", "glossy", "blue")
    drawn = {resolved([Change(kind, "any")], seen, np.random.default_rng(i))[0].value for i in range(60)}
    assert drawn <= set(VALUES[kind]) - {"any", getattr(seen, kind)} and len(drawn) >= min(3, len(VALUES[kind]) - 3)
    same = [resolved([Change(kind, "any")], seen, np.random.default_rng(5)) for _ in range(2)]
    assert same[0] == same[1]
