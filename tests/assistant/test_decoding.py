"""Whatever words a model likes best, what is left of them is in form."""

import random

import pytest
import torch

from dreamdist3d.assistant.decoding import FEWEST, SeenGrammar, WishGrammar
from dreamdist3d.assistant.intentions import ANY, Seen, read_plan, write_seen
from dreamdist3d.assistant.model import build_model, prompt_of
from dreamdist3d.assistant.tokenizer import build_tokenizer

SEEN = Seen("mug", "red", "striped", "glossy", "blue", "white", "tall")
PLAIN = Seen("mug", "red", part_color="blue")
END = " <say> done ."


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def walked(grammar, seed: int) -> str:
    """Words at random, of those that may follow."""
    dice, words = random.Random(seed), []
    while (allowed := grammar.next_words(words)) is not None:
        assert allowed
        words.append(dice.choice(list(allowed)))
    return " ".join(words)


@pytest.mark.parametrize("seen", [SEEN, PLAIN])
@pytest.mark.parametrize("kept", [set(), {"color", "part", "second"}, {"pattern", "second"}, {"shape"}])
def test_a_wish_begins_with_two_proposals_that_differ_and_may_be_made(tokenizer, seen, kept):
    for seed in range(100):
        plan = read_plan(f"<see> {write_seen(seen)} {walked(WishGrammar(tokenizer, seen, kept), seed)}{END}")
        assert plan.act == "wish" and len(set(plan.proposals)) == FEWEST
        for (change,) in plan.proposals:
            assert change.kind not in kept
            assert change.value == ANY or seen.after([change]) != seen


def test_what_is_seen_has_a_colour_a_family_and_the_colour_of_its_part(tokenizer):
    found = [read_plan(walked(SeenGrammar(tokenizer), seed) + " done .").seen for seed in range(300)]
    assert all(seen is not None and seen.part_color for seen in found)
    assert {bool(seen.second) for seen in found} == {True, False}
    assert any(seen.shape and seen.material != "matt" and seen.pattern != "plain" for seen in found)


def test_words_that_may_not_stand_are_never_said_and_the_others_keep_their_scores(tokenizer):
    grammar = WishGrammar(tokenizer, SEEN, set())
    ids = torch.tensor([tokenizer.convert_tokens_to_ids(["<wish>", "<do>", "material"]), [0] * 3])
    scores = torch.randn(2, len(tokenizer), generator=torch.Generator().manual_seed(0))
    found = grammar(ids, scores)
    allowed = tokenizer.convert_tokens_to_ids(["matt", "metallic", "any"])
    assert found.isfinite().nonzero().tolist() == [
        *([0, place] for place in sorted(allowed)),
        [1, tokenizer.convert_tokens_to_ids("<wish>")],
    ]
    torch.testing.assert_close(found[0, allowed], scores[0, allowed])


def test_a_model_that_knows_nothing_answers_in_form(tokenizer):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(tokenizer, 4, 4, width=16, layers=1).eval()
    features = torch.zeros(2, 4)
    seen = model.answer(features, prompt_of("what is this"), grammar=SeenGrammar(tokenizer), most=12)
    assert seen.startswith("<see> ") and "<answer> <say>" in seen
    wish = model.answer(
        features, prompt_of("surprise me"), "<see> red mug blue", 7, WishGrammar(tokenizer, PLAIN, set())
    )
    assert read_plan(wish + END).act == "wish"
