"""Converted folders, opened by stock diffusers and as a backbone."""

import json

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import save_file

from dreamdist3d.backbones import convert_checkpoint, load_backbone
from dreamdist3d.errors import UserError
from tests.backbones.convert.original import LATENT, UNET, VOCABULARY, vae_tensors
from tests.backbones.convert.plain import PlainUNet, PlainVae


def test_a_converted_folder_is_a_backbone_equal_to_the_original(converted, multi_view, given):
    backbone = load_backbone(str(converted))
    assert (backbone.n_views, backbone.image_size, backbone.prediction_type) == (4, 64, "epsilon")
    unet = {name[len(UNET) :]: tensor for name, tensor in multi_view.items() if name.startswith(UNET)}
    found = backbone.predict(*given, n_views=4)
    torch.testing.assert_close(found, PlainUNet(unet, 4)(*given), atol=1e-4, rtol=0)


def test_a_checkpoint_file_loads_as_its_folder_does(checkpoint, converted, given):
    from_file, from_folder = load_backbone(str(checkpoint)), load_backbone(str(converted))
    assert from_file.fingerprint == from_folder.fingerprint and from_file.n_views == 4
    assert torch.equal(from_file.predict(*given, n_views=4), from_folder.predict(*given, n_views=4))


def test_the_autoencoder_equals_the_original(converted):
    vae, plain = AutoencoderKL.from_pretrained(converted / "vae"), PlainVae(vae_tensors())
    generator = torch.Generator().manual_seed(6)
    pixels, latents = torch.rand(2, 3, 16, 16, generator=generator), torch.randn(2, LATENT, 8, 8, generator=generator)
    with torch.no_grad():
        moments, decoded = vae.encode(pixels).latent_dist.parameters, vae.decode(latents).sample
    torch.testing.assert_close(moments, plain.moments(pixels), atol=1e-4, rtol=0)
    torch.testing.assert_close(decoded, plain.decode(latents), atol=1e-4, rtol=0)
    assert vae.config.scaling_factor == 0.18215


def test_any_diffusers_opens_the_folder(converted):
    pipeline = StableDiffusionPipeline.from_pretrained(converted)
    assert pipeline.unet.config.class_embed_type == "projection"
    index = json.loads((converted / "model_index.json").read_text())
    assert (index["_class_name"], index["n_views"]) == ("StableDiffusionPipeline", 4)
    assert not [path for path in converted.rglob("*") if path.suffix in (".bin", ".pt", ".ckpt")]


def test_stable_diffusion_1_runs_in_a_stock_pipeline(version_1, tmp_path):
    save_file(version_1, tmp_path / "v1.safetensors")
    folder = convert_checkpoint(tmp_path / "v1.safetensors", tmp_path / "v1")
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    images = pipeline(
        "a cat!", num_inference_steps=2, height=16, width=16, generator=generator, output_type="pt"
    ).images
    assert images.shape == (1, 3, 16, 16) and images.isfinite().all() and images.std() > 0
    assert pipeline.tokenizer.pad_token_id == VOCABULARY - 1
    assert "n_views" not in json.loads((folder / "model_index.json").read_text())
    assert load_backbone(str(folder)).n_views == 1


def test_the_number_of_views_is_kept(checkpoint, tmp_path):
    folder = convert_checkpoint(checkpoint, tmp_path / "two", n_views=2)
    assert load_backbone(str(folder)).n_views == 2


def test_what_is_there_is_not_overwritten_but_by_a_new_conversion(checkpoint, tmp_path):
    dst = tmp_path / "dst"
    dst.mkdir()
    convert_checkpoint(checkpoint, dst)
    (dst / "left.txt").touch()
    convert_checkpoint(checkpoint, dst)
    assert not (dst / "left.txt").exists() and [path.name for path in tmp_path.iterdir()] == ["dst"]
    (dst / "model_index.json").write_text("{}")
    with pytest.raises(UserError, match="not an earlier conversion"):
        convert_checkpoint(checkpoint, dst)
    with pytest.raises(UserError, match="is a file"):
        convert_checkpoint(checkpoint, checkpoint)


def test_a_conversion_that_fails_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def fill_the_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dreamdist3d.backbones.convert.write.save_tokenizer", fill_the_disk)
    with pytest.raises(UserError, match="No space left"):
        convert_checkpoint(checkpoint, tmp_path / "dst")
    assert not list(tmp_path.iterdir())


def test_a_diffusers_folder_needs_no_conversion(converted, tmp_path):
    with pytest.raises(UserError, match="needs no conversion"):
        convert_checkpoint(converted, tmp_path / "dst")
