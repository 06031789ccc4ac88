"""Self-distillation: what is made, what is kept and why, and that the round goes on where it was."""

import pytest
import torch

from dreamdist3d.assistant import distill as room
from dreamdist3d.assistant.distill import DistillRecipe, caption_of, distill, load_kept, thresholds, verdict
from dreamdist3d.assistant.intentions import Seen, read_plan
from dreamdist3d.assistant.storage import load_assistant
from dreamdist3d.errors import UserError
from dreamdist3d.eval import MiniClip, MiniDino
from dreamdist3d.files import read_json

RECIPE = DistillRecipe(groups=3, requests=8, steps=1, batch=4)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distilled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "thresholds", lambda *_: {"clip_t": 0.3, "dino": 0.2})
        distill(folder, RECIPE)
    return folder


def test_everything_made_is_counted_and_what_is_kept_passes(out):
    found = read_json(out / "filter.json")
    assert sum(found["counts"].values()) == found["requests"] == RECIPE.requests
    made, wanted = load_kept(out)
    assert len(made) == len(wanted) == found["counts"]["kept"] > 0
    for one in made:
        assert verdict(one, found["thresholds"]) == "kept"
        plan = read_plan(one.done)
        assert plan.act == "edit" and len(plan.proposals) == 1 and "<do>" in one.answer
    torch.testing.assert_close(wanted.square().mean(dim=1), torch.ones(len(made)), atol=1e-2, rtol=0)


def test_the_weights_are_an_assistant_that_changed(out):
    before, after = load_assistant().model.state_dict(), load_assistant(out / "weights").model.state_dict()
    assert before.keys() == after.keys() and any(not torch.equal(before[name], after[name]) for name in before)


def test_it_goes_on_and_makes_nothing_twice(out):
    at = (out / "kept.jsonl").stat().st_mtime_ns
    assert distill(out, RECIPE) == out / "weights" and (out / "kept.jsonl").stat().st_mtime_ns == at
    with pytest.raises(UserError, match="another recipe"):
        distill(out, DistillRecipe(groups=3, requests=9, steps=1, batch=4))
    with pytest.raises(UserError, match="requests=0"):
        DistillRecipe(requests=0)


def test_thresholds_are_quantiles_of_true_pairs():
    found = thresholds(MiniClip(), MiniDino(), groups=6)
    assert 0.3 < found["clip_t"] < 0.95 and 0.3 < found["dino"] < 0.99


def test_a_caption_says_all_that_is_seen():
    seen = Seen("mug", "red", "striped", "glossy", "blue", "white", "tall")
    assert caption_of(seen) == "a tall glossy striped red and white mug with a blue handle"
