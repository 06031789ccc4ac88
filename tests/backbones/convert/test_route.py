"""From Stable Diffusion to MVDream by their names: learned with one, lifted with the other, as in the paper."""

from dataclasses import replace

import pytest
import torch

from dreamdist3d.backbones import load_backbone
from dreamdist3d.backbones.catalogue import CATALOGUE
from dreamdist3d.config import load_config
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import LearnConfig, PromptDistribution, learn, load_references
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.one import run_once
from tests.backbones.fake_hub import put_in_cache
from tests.prompts.tiny import write_pictures

SETTINGS = LearnConfig(prompts=2, tokens=2, batch=2, steps=2)


@pytest.fixture
def hub(peer_folder, stable_diffusion_folder, stable_diffusion_1_folder, mvdream_1_file, tmp_path, monkeypatch):
    """The hub's cache, with small files under the names of the published ones."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    published = {
        "mvdream": peer_folder,
        "mvdream15": mvdream_1_file,
        "sd15": stable_diffusion_1_folder,
        "sd21": stable_diffusion_folder,
    }
    for name, folder in published.items():
        source = replace(CATALOGUE[name].sources[0], sha256={})
        put_in_cache(tmp_path / "hub", source, folder)
        monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], sources=(source,)))


def learned(name, tmp_path):
    backbone = load_backbone(name)
    references = load_references(write_pictures(tmp_path / "pictures", 3), backbone.image_size)
    return learn(backbone, references, SETTINGS, tmp_path / "mushrooms.safetensors")


def lifted(name, tiny_run, tmp_path):
    still = ["system.optimizer.lr=1e-6", "system.optimizer.mlp_lr=1e-6", "trainer.max_steps=1"]
    prompt = f"system.prompt_processor.distribution={tmp_path / 'mushrooms.safetensors'}"
    overrides = [*tiny_run, *still, prompt, f"system.backbone={name}", f"exp_root_dir={tmp_path}"]
    return run_once(load_config("dreamdist3d/mini.yaml", overrides))


@pytest.mark.usefixtures("hub", "small_pictures")
@pytest.mark.parametrize(("with_one", "with_the_other"), [("sd21", "mvdream"), ("sd15", "mvdream15")])
def test_what_one_learned_is_lifted_with_the_other(with_one, with_the_other, tiny_run, tmp_path):
    """2.1: one text encoder, published in float32 there and in float16 here. 1.5: a folder there, a file here."""
    distribution = learned(with_one, tmp_path)
    assert distribution.metadata["backbone"] == with_one
    trial = lifted(with_the_other, tiny_run, tmp_path)
    record = Manifest.load(trial.manifest_path)
    assert record.state == "done" and record.backbone["name"] == with_the_other and trial.mesh.is_file()
    assert record.backbone["sha256"] == distribution.encoder_fingerprint


@pytest.mark.usefixtures("hub")
def test_another_text_encoder_is_refused(tiny_run, tmp_path):
    learned("sd15", tmp_path)
    with pytest.raises(UserError, match="another text encoder .*sd15"):
        lifted("mvdream", tiny_run, tmp_path)


@pytest.mark.usefixtures("hub")
def test_a_file_of_an_earlier_version_fits_the_very_copy_it_was_learned_with(tmp_path):
    full, half = load_backbone("sd21"), load_backbone("mvdream")
    old = PromptDistribution(torch.zeros(2, 2, 64), "low_rank", full.earlier_fingerprint, metadata={"backbone": "sd21"})
    old.check_encoder(full)
    with pytest.raises(UserError, match="sd21.*earlier version.*another precision"):
        old.check_encoder(half)
