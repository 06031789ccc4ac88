"""Training: what the losses are, and that it stops and goes on."""

from dataclasses import replace

import pytest
import torch

from dreamdist3d.apprentice.objective import Example, Lessons
from dreamdist3d.apprentice.training import TrainSettings, config_for, train
from dreamdist3d.backbones import add_noise, diffusion_target
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import SoftPromptEncoder

SETTINGS = TrainSettings(words_steps=2, steps=4, details_steps=1, width=16, tokens=2)


@pytest.fixture
def lessons(backbone, bank, trained):
    return Lessons(trained.apprentice, backbone, bank)


def seeded(number=0):
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("name", ["words", "pictures", "edits"])
def test_a_loss_depends_on_its_seed_alone_and_reaches_the_network(backbone, bank, trained, name):
    trained.apprentice.requires_grad_(True)
    lessons = Lessons(trained.apprentice, backbone, bank)
    first, again, other = (getattr(lessons, name)(seeded(n))["loss"] for n in (0, 0, 1))
    assert float(first.detach()) == float(again.detach()) != float(other.detach())
    first.backward()
    assert trained.apprentice.patch.weight.grad.abs().sum() > 0


def test_words_are_exact_where_the_tokens_are_the_captions_own(backbone, bank, trained, lessons, monkeypatch):
    ids = torch.tensor(SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).words("red cat"))
    own = backbone.text_encoder.get_input_embeddings()(ids)
    monkeypatch.setattr(trained.apprentice, "forward", lambda shown: own.expand(*shown.shape[:2], -1, -1))
    assert float(lessons.words(seeded())["loss"]) < 1e-10


def test_the_target_is_the_unets_own_answer_and_a_share_of_the_truth(backbone, lessons, bank):
    latents = bank.latents(range(3))
    text = torch.randn(3, 16, 16, generator=seeded(1))
    found = lessons._denoised(text, latents, ["red cat", "", "a cat"], 0.3, 0.0, seeded(2))
    drawing, encoder = seeded(2), SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    times = torch.randint(0, 1000, (3,), generator=drawing)
    noise = torch.randn(latents.shape, generator=drawing)
    noisy, true = add_noise(backbone, latents, noise, times), diffusion_target(backbone, latents, noise, times)
    answer = backbone.predict(noisy, times, encoder.encode_text(["red cat", "", "a cat"]).hidden)
    share = torch.tensor([0.3, 1.0, 0.3])[:, None, None, None]  # no caption: the truth alone
    target = share * true + (1 - share) * answer
    expected = (backbone.predict(noisy, times, text) - target).square().mean()
    torch.testing.assert_close(found, expected)


def test_an_instance_may_be_asked_for_in_any_of_its_pictures(bank, lessons):
    instance = bank.clusters[1]
    asked = {lessons._target(instance, instance.pictures[0], seeded(n)) for n in range(40)}
    assert asked == set(instance.targets)
    assert lessons._target(bank.clusters[0], 3, seeded()) == 3


def test_experts_pictures_are_learned_under_their_words(backbone, bank, trained):
    trained.apprentice.requires_grad_(True)
    made = [Example("a", 2, "a red", torch.ones(4, 8, 8)), Example("b", 7, "a photo of", torch.zeros(4, 8, 8))]
    loss = Lessons(trained.apprentice, backbone, bank, made).experts(seeded())["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert trained.apprentice.patch.weight.grad.abs().sum() > 0


def test_an_experts_picture_goes_with_the_prompt_of_its_home(backbone, bank, trained):
    made = [Example("a", 2, "a red", torch.ones(4, 8, 8)), Example("b", 7, "a photo of", torch.zeros(4, 8, 8))]
    lessons = Lessons(trained.apprentice, backbone, bank, made)
    shown = [lessons._demonstrations(one, 3, seeded(4)) for one in made]
    assert [one[0] for one in shown] == [2, 7]
    for one, places in zip(made, shown, strict=True):
        assert len(set(places)) == 3 and set(places) <= set(lessons._by_name[one.cluster].pictures)
    drawing = seeded(4)
    text, latents = lessons._of_examples(made, 3, drawing)
    drawing = seeded(4)
    for row, one in enumerate(made):
        places = lessons._demonstrations(one, 3, drawing)
        tokens = trained.apprentice(lessons._inputs(places)[None])[0, :1]  # the first picture's own prompt
        torch.testing.assert_close(text[row], lessons._encoder.encode(tokens, one.prefix).hidden[0].float())
        assert torch.equal(latents[row], one.latents)


def test_a_small_cluster_shows_what_it_has(backbone, bank, trained):
    lessons = Lessons(trained.apprentice, backbone, bank, [])
    places = lessons._demonstrations(Example("a", 2, "", torch.ones(4, 8, 8)), 50, seeded())
    assert sorted(places) == sorted(lessons._by_name["a"].pictures)


def test_training_in_two_sittings_is_training_in_one(backbone, bank, tmp_path, monkeypatch):
    from dreamdist3d.apprentice import training
    from dreamdist3d.errors import Stopped

    whole = train(backbone, bank, tmp_path / "whole", SETTINGS)
    real = training.run_stage

    def stopping(stage, *given, **named):
        real(stage, *given, **named)
        if stage.name == "words":
            raise Stopped("enough")

    monkeypatch.setattr(training, "run_stage", stopping)
    with pytest.raises(Stopped):
        train(backbone, bank, tmp_path / "parts", SETTINGS)
    monkeypatch.setattr(training, "run_stage", real)
    again = train(backbone, bank, tmp_path / "parts", SETTINGS)
    for name, value in whole.apprentice.state_dict().items():
        assert torch.equal(value, again.apprentice.state_dict()[name]), name


def test_another_training_in_the_same_folder_is_refused(backbone, bank, tmp_path):
    train(backbone, bank, tmp_path, replace(SETTINGS, words_steps=1, steps=1))
    with pytest.raises(UserError, match="another training .lr differ"):
        train(backbone, bank, tmp_path, replace(SETTINGS, words_steps=1, steps=1, lr=1.0))


def test_sizes_follow_from_what_is_seen_and_what_tokens_are_for(backbone, bank):
    config = config_for(backbone, bank, SETTINGS)
    assert (config.patches, config.features, config.embedding) == (16, 16, 16)
    assert 0 < config.scale < 1
