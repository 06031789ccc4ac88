"""Folders as Stable Diffusion 1.x and 2.x lie on the hub: written by libraries of 2022, with parts we do not use."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dreamdist3d.backbones import load_backbone
from dreamdist3d.errors import UserError
from tests.backbones.tiny import write_sd_folder
from tests.prompts.tiny import EOS, tiny_tokenizer

# Stable Diffusion 1.5's own file, word for word.
PNDM = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd_folder(tmp_path_factory.mktemp("plain") / "sd")


@pytest.fixture
def folder(plain_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(plain_folder, tmp_path / "sd")


def edit(path: Path, **changes: object) -> None:
    """Change keys of a JSON file; None removes one."""
    merged = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in merged.items() if value is not None}))


def test_the_schedule_of_stable_diffusion_1_is_read_from_its_pndm_configuration(folder: Path) -> None:
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(PNDM))
    backbone = load_backbone(str(folder))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    torch.testing.assert_close(backbone.alphas_cumprod, (1 - betas).cumprod(0).float(), rtol=1e-4, atol=0)
    assert backbone.prediction_type == "epsilon"


def test_velocity_is_read_from_the_scheduler(folder: Path) -> None:
    edit(folder / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    assert load_backbone(str(folder)).prediction_type == "v_prediction"


@pytest.mark.parametrize(
    "changes,said", [({"prediction_type": "sample"}, "'sample'"), ({"beta_schedule": None}, "betas")]
)
def test_schedules_that_would_be_misread_are_refused(folder: Path, changes: dict, said: str) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    edit(path, **changes)
    with pytest.raises(UserError, match=said) as caught:
        load_backbone(str(folder))
    assert str(path) in str(caught.value)


def test_a_padding_token_that_is_the_end_token_stays_so(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")
    tiny_tokenizer(folder / "tokenizer", pad=EOS)
    tokenizer = load_backbone(str(folder)).tokenizer
    assert tokenizer.pad_token == tokenizer.eos_token == EOS
    ids = tokenizer("a cat", padding="max_length").input_ids
    assert ids[3:] == [tokenizer.eos_token_id] * (len(ids) - 3)


def test_an_autoencoder_without_a_scaling_factor_has_stable_diffusions(folder: Path) -> None:
    edit(folder / "vae" / "config.json", scaling_factor=None)
    assert "scaling_factor" not in json.loads((folder / "vae" / "config.json").read_text())
    assert load_backbone(str(folder)).vae.config.scaling_factor == 0.18215


def test_an_autoencoder_with_the_old_names_of_attention_is_the_same_autoencoder(folder: Path) -> None:
    before = load_backbone(str(folder)).vae.state_dict()
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    renamed = {}
    for name, value in weights.items():
        for new, old in OLD_ATTENTION.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        renamed[name] = value
    assert sum("proj_attn" in name for name in renamed) == 4
    save_file(renamed, path, metadata={"format": "pt"})
    after = load_backbone(str(folder)).vae.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_parts_that_are_not_used_are_not_touched(folder: Path) -> None:
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "pytorch_model.bin").write_bytes(b"\x80\x04 not to be unpickled")
    (folder / "feature_extractor").mkdir()
    (folder / "feature_extractor" / "preprocessor_config.json").write_text("{")
    index = {"_class_name": "StableDiffusionPipeline", "safety_checker": ["none", "SuchClass"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    assert load_backbone(str(folder)).n_views == 1


@pytest.mark.parametrize(
    "changes,said",
    [
        ({"in_channels": 9}, "9 input channels for 4 of latents"),
        ({"in_channels": 5}, "5 input channels for 4 of latents"),
        ({"addition_embed_type": "text_time"}, "Stable Diffusion XL"),
        ({"num_class_embeds": 1000}, "upscaler"),
        ({"class_embed_type": "timestep"}, "class labels"),
        ({"class_embed_type": "projection", "projection_class_embeddings_input_dim": 2048}, "2048 extra numbers"),
        ({"_class_name": "UNet3DConditionModel"}, "'UNet3DConditionModel'"),
        ({"cross_attention_dim": 32}, "the UNet takes 32"),
    ],
)
def test_models_of_another_kind_are_refused_with_those_that_work(folder: Path, changes: dict, said: str) -> None:
    edit(folder / "unet" / "config.json", **changes)
    with pytest.raises(UserError, match=said) as caught:
        load_backbone(str(folder))
    line = str(caught.value)
    assert "Stable Diffusion 1.x and 2.x (text to image) and MVDream work" in line and "\n" not in line
