"""The second stage: pictures beside words."""

from dataclasses import replace

import pytest
import torch

from dreamdist3d.apprentice import load_apprentice
from dreamdist3d.apprentice.details import DetailLessons, details_for
from dreamdist3d.apprentice.instant import instant
from dreamdist3d.apprentice.training import TrainSettings, train
from dreamdist3d.backbones import see_references
from dreamdist3d.backbones.reference_attention import ReferenceAttention, install_reference_attention
from dreamdist3d.backbones.references import FILE
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptComposition, PromptDistribution, SoftPromptEncoder, load_references
from dreamdist3d.prompts.looks.pictures import Sampling, sample_pictures
from tests.prompts.tiny import write_pictures

SETTINGS = TrainSettings(words_steps=1, steps=1, details_steps=3, width=16, tokens=2)


@pytest.fixture(scope="module")
def trained_file(backbone, bank, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    train(backbone, bank, folder / "training", SETTINGS).save(folder / "apprentice.safetensors")
    return folder / "apprentice.safetensors"


def test_training_leaves_the_backbone_as_it_was(backbone, trained_file):
    assert not any(isinstance(one, ReferenceAttention) for one in backbone.unet.attn_processors.values())
    assert not any(weight.requires_grad for weight in backbone.unet.parameters())
    assert load_apprentice(trained_file).reference_attention
    assert (trained_file.parent / FILE).is_file()


def test_both_lessons_reach_what_they_teach_and_nothing_else(backbone, bank, trained):
    details = details_for(trained.apprentice, backbone)
    before = dict(backbone.unet.attn_processors)
    layers = install_reference_attention(backbone.unet, 16).requires_grad_(True)
    try:
        lessons = DetailLessons(trained.apprentice, details, backbone, bank)
        with torch.no_grad():  # values that are zero pass no gradient on to what they are values of
            for layer in layers:
                layer.to_v_ip[0].weight.normal_(generator=torch.Generator().manual_seed(0))
        for lesson in (lessons.pictures, lessons.edits):
            lesson(torch.Generator().manual_seed(0))["loss"].backward()
            for module in (details, layers):
                assert all(weight.grad.abs().sum() > 0 for weight in module.parameters())
                module.zero_grad()
        assert all(weight.grad is None for weight in trained.apprentice.parameters())
    finally:
        backbone.unet.set_attn_processor(before)


@pytest.fixture
def made(backbone, trained_file, tmp_path):
    references = load_references(write_pictures(tmp_path / "in", 6, (20, 20)), 16)
    distribution = instant(backbone, load_apprentice(trained_file), references, prompts=3, details=True)
    distribution = replace(
        distribution, metadata=distribution.metadata | {"reference_attention_path": str(trained_file.parent / FILE)}
    )
    distribution.save(tmp_path / "x.safetensors")
    return PromptDistribution.load(tmp_path / "x.safetensors")


def test_a_file_carries_four_pictures_into_every_prompt(backbone, made):
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    assert made.references.shape == (4 * 16, 16)
    prompt = made.embed(made.draw(seed=1), encoder)
    assert prompt.shape == (16 + 64, 16)
    assert torch.equal(prompt[16:], made.references)
    plain = replace(made, references=None)
    assert torch.equal(prompt[:16], plain.embed(made.draw(seed=1), encoder))
    assert made.content_hash != plain.content_hash


def test_sampling_shows_the_unet_the_pictures(tiny_backbone, made):
    from dreamdist3d.backbones import load_backbone

    backbone = load_backbone(str(tiny_backbone))
    draws, sampling = [made.draw(seed) for seed in range(2)], Sampling(steps=2)
    shown = sample_pictures(backbone, made, draws, sampling)
    assert backbone.reference_attention == made.reference_attention
    plain = sample_pictures(backbone, replace(made, references=None), draws, sampling)
    assert (shown - plain).abs().max() > 1e-5


def test_what_cannot_be_done_with_pictures_is_told(backbone, trained, made, tmp_path):
    with pytest.raises(UserError, match="do not mix"):
        PromptComposition((made, made))
    references = load_references(write_pictures(tmp_path / "few", 2, (20, 20)), 16)
    with pytest.raises(UserError, match="leave --details out"):
        instant(backbone, trained, references, details=True)
    with pytest.raises(UserError, match="not what the distribution was made for"):
        see_references(backbone, "0" * 64, made.metadata["reference_attention_path"])


def test_a_lift_sees_the_pictures_too(
    tiny_backbone, tiny_run, made, trained_file, tmp_path, small_pictures, monkeypatch
):
    from dreamdist3d.backbones import Backbone
    from dreamdist3d.cli import main

    seen = []
    real = Backbone.predict_pair
    monkeypatch.setattr(
        Backbone, "predict_pair", lambda self, z, t, text, *rest: seen.append(text) or real(self, z, t, text, *rest)
    )
    words = ["launch", "--config", "dreamdist3d/mini.yaml", *tiny_run, f"exp_root_dir={tmp_path / 'runs'}"]
    assert main([*words, f"system.prompt_processor.distribution={tmp_path / 'x.safetensors'}"]) == 0
    assert len(seen) == 3
    assert all(torch.equal(text[0, 16:], made.references) for text in seen)


def test_engines_that_do_not_see_pictures_refuse_them(backbone, made):
    with pytest.raises(UserError, match="this engine does not see"):
        made.check_text_side(backbone)
    replace(made, references=None, reference_attention="").check_text_side(backbone)
