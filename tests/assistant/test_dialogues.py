"""The grammar: seeded, true to its ground truth, held out by construction."""

import re

import numpy as np
import pytest

from dreamdist3d.assistant import world
from dreamdist3d.assistant.grammar import phrases, words
from dreamdist3d.assistant.grammar.dialogues import ODDS, UNKNOWN, draw_turn, is_unseen, turn_of
from dreamdist3d.assistant.intentions import Change, Seen, read_plan, write_plan
from dreamdist3d.assistant.tokenizer import build_tokenizer, split_words
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.palette import COLOR_NAMES

PAINTS = (("striped", "white"), ("plain", ""))
SEENS = [
    Seen(name, COLOR_NAMES[i % 12], PAINTS[i % 2][0], "matt", COLOR_NAMES[(i + 5) % 12], PAINTS[i % 2][1])
    for i, name in enumerate(FAMILIES)
]


def turns(split, count=400, **options):
    rng = np.random.default_rng(7)
    return [(seen, draw_turn(seen, rng, split, **options)) for _ in range(count // 20) for seen in SEENS]


@pytest.fixture(scope="module")
def trained():
    return turns("train", 1200)


@pytest.fixture(scope="module")
def held_out():
    return turns("held_out", 600)


def test_a_seed_is_a_dialogue():
    def drawn(seed):
        rng = np.random.default_rng(seed)
        return [draw_turn(SEENS[0], rng).request for _ in range(20)]

    assert drawn(1) == drawn(1) != drawn(2)


def test_every_plan_can_be_read_again(trained, held_out):
    for _, turn in [*trained, *held_out]:
        assert read_plan(write_plan(turn.plan)) == turn.plan


def test_edits_change_something_and_wishes_offer_two_to_four_different_ones(trained):
    for seen, turn in trained:
        if turn.plan.act == "wish":
            assert 2 <= len(set(turn.plan.proposals)) == len(turn.plan.proposals) <= 4
        for changes in turn.plan.proposals:
            for change in changes:
                name = {"part": "part_color"}.get(change.kind, change.kind)
                if turn.kind != "color_part" and change.kind not in ("second", "background") and hasattr(seen, name):
                    assert getattr(seen, name) != change.value


def test_what_is_to_stay_stays(trained):
    kept = [(seen, turn) for seen, turn in trained if turn.kind == "mood_keep"]
    assert len(kept) > 30
    for _, turn in kept:
        for name, said in words.KEPT.items():
            if f"the {said} stays" in turn.plan.words:
                assert all(change.kind != name for changes in turn.plan.proposals for change in changes)


def test_every_mood_leaves_two_proposals_whatever_a_thing_is():
    for _, candidates in world.MOODS.values():
        for seen in SEENS:
            for keep in ("", "color", "pattern", "shape"):
                assert len(world.proposals_for(candidates, seen, keep)) >= 2


def test_no_training_sentence_says_what_is_held_out():
    def forms(table):
        return {text for patterns in table.values() for pattern in patterns for text in phrases.alternatives(pattern)}

    assert not forms(phrases.TRAIN) & forms(phrases.HELD_OUT)


def test_no_training_request_asks_for_a_pair_that_is_held_out(trained, held_out):
    def unseen(pairs):
        return [
            turn
            for seen, turn in pairs
            if turn.kind in ("color", "part", "pattern", "second", "material", "two", "color_part")
            and any(is_unseen(seen.family, change.value) for change in turn.plan.proposals[0])
        ]

    assert not [turn for turn in unseen(trained) if turn.kind != "second"]
    assert len(unseen(held_out)) > 20


def test_held_out_sentences_are_made_of_known_words():
    tokenizer = build_tokenizer()
    texts = {re.sub(r"\{\w+\}", " ", p) for patterns in phrases.HELD_OUT.values() for p in patterns}
    lacking = {w for text in texts for w in split_words(text) if tokenizer.convert_tokens_to_ids(w) == 0}
    assert not lacking


def test_groups_are_what_they_are_called():
    acts = {"clear": {"edit"}, "vague": {"wish"}, "question": {"answer"}, "refused": {"refuse"}}
    assert set(acts) == set(ODDS)
    for group, allowed in acts.items():
        assert {turn.plan.act for _, turn in turns("train", 200, group=group)} == allowed


def test_a_word_nobody_knows_is_refused_where_it_matters():
    rng = np.random.default_rng(0)
    for _ in range(20):
        turn = turn_of("unknown", SEENS[0], rng)
        assert UNKNOWN in turn.request and turn.plan.act == "refuse"


def test_darker_and_lighter_follow_the_colour():
    def lightness(name):
        from dreamdist3d.mini.palette import PALETTE

        return np.dot(PALETTE[name], (0.299, 0.587, 0.114))

    assert all(lightness(after) < lightness(before) for before, after in world.DARKER.items())
    assert all(lightness(after) > lightness(before) for before, after in world.LIGHTER.items())


def test_a_follow_up_means_what_went_before():
    rng = np.random.default_rng(3)
    turn = next(t for t in (turn_of("also_part", SEENS[3], rng) for _ in range(50)) if t)
    assert turn.plan.proposals == ((Change("part", SEENS[3].color),),) and f"color {SEENS[3].color}" in turn.past
