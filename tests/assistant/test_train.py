"""Training examples are true quadruplets; a small training runs, is kept, and goes on."""

import numpy as np
import pytest
import torch

from dreamdist3d.assistant.distill import Made, verdict
from dreamdist3d.assistant.grammar.dialogues import kind_of, turn_of
from dreamdist3d.assistant.inputs import mini_inputs
from dreamdist3d.assistant.pictures import load_pictures, write_pictures
from dreamdist3d.assistant.storage import load_assistant
from dreamdist3d.assistant.train import AssistantRecipe, draw_example, losses, train
from dreamdist3d.errors import UserError
from tests.assistant.tiny import tiny_model

RECIPE = AssistantRecipe(groups=3, steps=3, batch=6)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assistant")
    train(folder, RECIPE)
    return folder


@pytest.fixture(scope="module")
def pictures(out):
    return load_pictures(out / "pictures")


def test_the_weights_are_an_assistant(out):
    stored = load_assistant(out / "weights")
    assert stored.inputs.name == "mini-clip" and sum(p.numel() for p in stored.model.parameters()) < 3e6
    assert (out / "weights" / "llm" / "model.safetensors").stat().st_size < 6e6
    assert (out / "weights" / "recipe.json").is_file()


def test_the_seed_decides_and_another_recipe_is_refused(out, tmp_path):
    again = load_assistant(train(tmp_path, RECIPE)).model.state_dict()
    for name, value in load_assistant(out / "weights").model.state_dict().items():
        assert torch.equal(value, again[name])
    with pytest.raises(UserError, match="another recipe"):
        train(tmp_path, AssistantRecipe(groups=3, steps=9, batch=6))
    with pytest.raises(UserError, match="steps=0"):
        AssistantRecipe(steps=0)


def test_pictures_are_kept_as_they_are_made(pictures, tmp_path):
    write_pictures(tmp_path, 3, RECIPE.seed, mini_inputs())
    again = load_pictures(tmp_path)
    assert again.seen == pictures.seen and torch.equal(again.features, pictures.features)
    assert pictures.features.shape == (3, 4, 10, 128) and pictures.wanted.shape == (3, 4, 128)


def test_the_picture_wanted_shows_what_was_asked_for(pictures):
    rng = np.random.default_rng(0)
    examples = [draw_example(pictures, rng) for _ in range(300)]
    edits = [e for e in examples if e.wanted is not None and e.turn.plan.act == "edit"]
    assert len(edits) > 60
    for example in edits:
        seen, target = (pictures.seen[example.group][k] for k in (example.place, example.wanted))
        assert seen.after(example.turn.plan.proposals[0]) == target
    untaught = [e for e in examples if not e.taught]
    assert untaught and all(e.wanted is not None and len(e.turn.plan.proposals) == 1 for e in untaught)
    stays = [e for e in examples if e.turn.plan.act in ("answer", "refuse")]
    assert stays and all(e.wanted == e.place for e in stays)


def test_the_loss_is_words_plus_lambda_times_the_squared_error(pictures):
    rng = np.random.default_rng(1)
    examples = [e for e in (draw_example(pictures, rng) for _ in range(40)) if e.taught and e.wanted is not None][:4]
    model = tiny_model()
    model.project, model.head = torch.nn.Linear(128, 16), torch.nn.Linear(16, 128)
    features = torch.stack([pictures.features[e.group, e.place] for e in examples])
    with torch.no_grad():
        terms = losses(model, features, examples, pictures, 0.25)
        none = losses(model, features, examples, pictures, 0.0)
    torch.testing.assert_close(terms["loss"], terms["words"] + 0.25 * terms["wanted"])
    torch.testing.assert_close(none["loss"], terms["words"])


def test_a_change_that_no_sentence_asks_for_has_no_kind(pictures):
    seen = pictures.seen[0][0]
    assert kind_of(()) is None
    assert turn_of("limit", seen, np.random.default_rng(0)) is None or seen.color in ("black", "white")


def test_the_filter_says_why():
    limits = {"clip_t": 0.3, "dino": 0.6}
    cases = {
        "kept": Made(0, 0, "", "", "", 0.3, 0.6),
        "below clip_t": Made(0, 0, "", "", "", 0.29, 0.6),
        "below dino": Made(0, 0, "", "", "", 0.3, 0.59),
        "below clip_t and dino": Made(0, 0, "", "", "", 0.1, 0.1),
        "no plan": Made(0, 0, "", "", "", 0.9, 0.9, "no plan"),
    }
    for said, made in cases.items():
        assert verdict(made, limits) == said
