"""Names of models: equal for copies, different for models."""

import copy
import hashlib
import shutil

import pytest
import torch
from diffusers import DDPMScheduler

from dreamdist3d.backbones import TextSide, fingerprint_of, has_fingerprint, load_backbone, set_precision
from dreamdist3d.backbones.identity import earlier_fingerprint_of
from tests.backbones.tiny import write_sd_folder
from tests.prompts.tiny import tiny_text_encoder, tiny_tokenizer

PARTS = ("text_encoder", "vae", "unet")


@pytest.fixture
def text_side(tmp_path):
    tokenizer = tiny_tokenizer(tmp_path / "tokenizer")
    return tokenizer, tiny_text_encoder(tokenizer)


@pytest.fixture
def folder(tiny_backbone, tmp_path):
    return shutil.copytree(tiny_backbone, tmp_path / "model")


def test_a_half_precision_copy_has_the_same_fingerprint(text_side):
    tokenizer, encoder = text_side
    half = copy.deepcopy(encoder).half()
    name = fingerprint_of(tokenizer, encoder)
    assert name.startswith("fp16-") and len(name) == 5 + 64
    assert name == fingerprint_of(tokenizer, half) == fingerprint_of(tokenizer, half.float())
    assert name != fingerprint_of(tokenizer, copy.deepcopy(encoder).bfloat16())


def test_an_earlier_fingerprint_is_the_hash_it_was(text_side):
    tokenizer, encoder = text_side
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.removeprefix("text_model.").encode() + value.numpy().astype("<f4").tobytes())
    for token, index in sorted(tokenizer.get_vocab().items()):
        digest.update(f"{token}\0{index}\0".encode())
    assert earlier_fingerprint_of(tokenizer, encoder) == digest.hexdigest()
    side, half = TextSide(tokenizer, encoder), TextSide(tokenizer, copy.deepcopy(encoder).half())
    assert has_fingerprint(side, digest.hexdigest()) and has_fingerprint(side, side.fingerprint)
    assert not has_fingerprint(half, digest.hexdigest()) and not has_fingerprint(side, half.earlier_fingerprint)


def test_an_identity_is_of_the_numbers_whatever_folder_and_precision(folder, tiny_backbone):
    first = load_backbone(str(tiny_backbone))
    for part in PARTS:
        copy.deepcopy(getattr(first, part)).half().save_pretrained(folder / part)
    half = load_backbone(str(folder))
    assert half.identity == first.identity and len(first.identity) == 64
    for dtype in (torch.float16, torch.bfloat16):
        assert set_precision(load_backbone(str(tiny_backbone)), dtype).identity == first.identity
    assert load_backbone(str(tiny_backbone), dtype=torch.bfloat16).identity == first.identity


@pytest.mark.parametrize("part", PARTS)
def test_a_change_in_any_part_is_another_identity(folder, tiny_backbone, part):
    original, changed = load_backbone(str(tiny_backbone)), load_backbone(str(folder))
    for name, weight in getattr(changed, part).named_parameters():
        weight.view(-1)[-1] += 0.01
        assert load_backbone(str(tiny_backbone)).identity != replaced(changed).identity, name
        break
    assert original.identity != replaced(changed).identity


def replaced(backbone):
    """Its identity asked for anew, as if it had just been loaded."""
    backbone._identity, backbone.fingerprint = None, fingerprint_of(backbone.tokenizer, backbone.text_encoder)
    return backbone


def test_the_noise_schedule_is_part_of_the_identity(folder, tiny_backbone):
    DDPMScheduler(prediction_type="epsilon").save_pretrained(folder / "scheduler")
    assert load_backbone(str(folder)).identity != load_backbone(str(tiny_backbone)).identity


def test_an_identity_is_hashed_only_when_asked_for(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("dreamdist3d.backbones.backbone.identity_of", lambda *parts: asked.append(parts) or "name")
    backbone = load_backbone(str(write_sd_folder(tmp_path)))
    assert not asked
    assert backbone.identity == backbone.identity == "name" and len(asked) == 1
