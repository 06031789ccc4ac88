"""Folders on disk: what loads, and what is refused in one line that names the file."""

import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from dreamdist3d import __version__
from dreamdist3d.backbones import JointViewAttention, load_backbone
from dreamdist3d.backbones.catalogue import CATALOGUE
from dreamdist3d.config import load_config
from dreamdist3d.errors import UserError
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.one import run_once
from tests.backbones.fake_hub import put_in_cache
from tests.backbones.tiny import write_sd_folder

PARTS = ("tokenizer", "text_encoder", "vae", "unet", "scheduler")
WEIGHTS = {
    "text_encoder": "model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "unet": "diffusion_pytorch_model.safetensors",
}


@pytest.fixture
def folder(tiny_backbone, tmp_path):
    """A copy of the tiny backbone to damage."""
    return shutil.copytree(tiny_backbone, tmp_path / "model")


def refused(folder):
    with pytest.raises(UserError) as caught:
        load_backbone(str(folder))
    line = str(caught.value)
    assert "\n" not in line
    return line


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_unknown_name_lists_the_known_ones():
    line = refused("mvdreem")
    assert all(name in line for name in ("'mvdreem'", "mini", "mvdream", "sd21", "folder"))


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_a_name_without_weights_says_how_to_give_them(monkeypatch, tmp_path, name):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    line = refused(name)
    assert all(source.repository in line for source in CATALOGUE[name].sources)
    assert "system.backbone" in line and "local folder or checkpoint file" in line


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "notes.md").write_text("weights")
    assert "no checkpoint file" in refused(tmp_path / "notes.md")


@pytest.mark.slow
@pytest.mark.usefixtures("small_pictures")
def test_a_run_records_the_repository_and_the_commit_of_its_weights(tiny_backbone, tiny_run, tmp_path, monkeypatch):
    source = CATALOGUE["mvdream"].sources[0]
    put_in_cache(tmp_path / "hub", source, tiny_backbone)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    overrides = [*tiny_run, "system.backbone=mvdream", "system.prompt_processor.prompt=a cat", "tag=one"]
    run_once(load_config("dreamdist3d/mini.yaml", [*overrides, f"exp_root_dir={tmp_path}"]))
    recorded = Manifest.load(tmp_path / "mini" / "one" / "run.json").backbone
    assert recorded["name"] == "mvdream" and recorded["source"] == f"{source.repository}@{source.revision}"
    assert recorded["sha256"] == load_backbone(str(tiny_backbone)).fingerprint


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(folder, part):
    shutil.rmtree(folder / part)
    line = refused(folder)
    assert str(folder) in line and f"{part} missing" in line


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\0" * 64])
def test_damaged_weights_are_named(folder, part, damage):
    path = folder / part / WEIGHTS[part]
    path.write_bytes(damage(path.read_bytes()))
    assert str(folder / part) in refused(folder)


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_pickled_weights_are_refused(folder, part):
    path = folder / part / WEIGHTS[part]
    pickled = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
    torch.save(load_file(path), path.with_name(pickled))
    path.unlink()
    line = refused(folder)
    assert str(folder / part) in line and "safetensors" in line


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_a_missing_configuration_is_named(folder, part):
    (folder / part / "config.json").unlink()
    line = refused(folder)
    assert str(folder / part) in line


@pytest.mark.parametrize("name", ["model_index.json", "vae/config.json", "unet/config.json"])
def test_json_that_is_none_is_named(folder, name):
    (folder / name).write_text("{'n_views': ")
    assert str(folder) in refused(folder)


def test_weights_of_another_shape_are_named(folder):
    path = folder / "unet" / WEIGHTS["unet"]
    weights = load_file(path)
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :3].contiguous()
    save_file(weights, path)
    assert "conv_in" in refused(folder)


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_a_weight_that_is_missing_is_named_and_not_made_up(folder, part):
    path = folder / part / WEIGHTS[part]
    weights = load_file(path)
    name = next(n for n in sorted(weights) if n.endswith("bias"))
    save_file({n: v for n, v in weights.items() if n != name}, path, metadata={"format": "pt"})
    line = refused(folder)
    assert str(folder / part) in line and name.removeprefix("text_model.") in line


def test_an_unsupported_autoencoder_is_named(folder):
    edit_json(folder / "vae" / "config.json", _class_name="VQModel")
    line = refused(folder)
    assert str(folder / "vae" / "config.json") in line and "'VQModel'" in line


def test_everything_is_frozen_and_in_eval_mode(folder):
    backbone = load_backbone(str(folder))
    for module in (backbone.text_encoder, backbone.vae, backbone.unet):
        assert not any(m.training for m in module.modules())
        assert not any(p.requires_grad for p in module.parameters())
    assert backbone.image_size == 16


def test_the_source_is_recorded_so_that_it_can_be_found_again(folder, monkeypatch):
    assert load_backbone("mini").source == f"packaged with dreamdist3d {__version__}"
    monkeypatch.chdir(folder.parent)
    assert load_backbone(f"./{folder.name}").source == str(folder)


def test_half_precision_weights_load_as_float32(folder, tiny_backbone):
    for part, name in WEIGHTS.items():
        weights = load_file(folder / part / name)
        save_file({k: v.half() if v.is_floating_point() else v for k, v in weights.items()}, folder / part / name,
                  metadata={"format": "pt"})  # fmt: skip
    edit_json(folder / "text_encoder" / "config.json", dtype="float16")
    half, full = load_backbone(str(folder)), load_backbone(str(tiny_backbone))
    for part in WEIGHTS:
        rounded, exact = getattr(half, part).state_dict(), getattr(full, part).state_dict()
        for name, value in exact.items():
            if value.is_floating_point():
                assert rounded[name].dtype == torch.float32
                assert torch.equal(rounded[name], value.half().float()), name


def test_another_dtype_is_that_of_autoencoder_and_unet(folder):
    backbone = load_backbone(str(folder), dtype=torch.bfloat16)
    dtypes = [{p.dtype for p in m.parameters()} for m in (backbone.text_encoder, backbone.vae, backbone.unet)]
    # Moments must not depend on the machine: the text encoder stays in float32, and so does its fingerprint.
    assert dtypes == [{torch.float32}, {torch.bfloat16}, {torch.bfloat16}]
    assert backbone.fingerprint == load_backbone(str(folder)).fingerprint
    latents = torch.randn(4, 4, 8, 8)
    output = backbone.predict(latents, torch.full((4,), 10), torch.randn(4, 16, 16), n_views=4)
    assert output.dtype == torch.bfloat16 and output.isfinite().all()


@pytest.mark.parametrize("prefixed", [True, False])
def test_either_layout_of_the_text_encoder_is_the_same_encoder(folder, tiny_backbone, prefixed):
    """transformers 4 wrote `text_model.` before every name, transformers 5 may not."""
    path = folder / "text_encoder" / WEIGHTS["text_encoder"]
    bare = {name.removeprefix("text_model."): value for name, value in load_file(path).items()}
    save_file({("text_model." if prefixed else "") + n: v for n, v in bare.items()}, path, metadata={"format": "pt"})
    assert load_backbone(str(folder)).fingerprint == load_backbone(str(tiny_backbone)).fingerprint


def test_a_text_encoder_written_by_an_older_library_is_the_same_encoder(folder, tiny_backbone):
    """Those of the hub also carry the positions themselves, as integers."""
    path = folder / "text_encoder" / WEIGHTS["text_encoder"]
    old = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(path).items()}
    length = old["text_model.embeddings.position_embedding.weight"].shape[0]
    old["text_model.embeddings.position_ids"] = torch.arange(length)[None]
    save_file(old, path, metadata={"format": "pt"})
    assert load_backbone(str(folder)).fingerprint == load_backbone(str(tiny_backbone)).fingerprint


@pytest.mark.parametrize("with_plain", [False, True])
def test_half_precision_variants_load_where_there_is_nothing_else(folder, tiny_backbone, with_plain):
    for part, name in WEIGHTS.items():
        path = folder / part / name
        stem, _, ending = name.rpartition(".")
        half = {k: v.half() if v.is_floating_point() else v for k, v in load_file(path).items()}
        save_file(half, path.with_name(f"{stem}.fp16.{ending}"), metadata={"format": "pt"})
        if not with_plain:
            path.unlink()
    loaded, plain = load_backbone(str(folder)), load_backbone(str(tiny_backbone))
    for part in WEIGHTS:
        for name, value in getattr(plain, part).state_dict().items():
            got = getattr(loaded, part).state_dict()[name]
            assert got.dtype == value.dtype
            assert torch.equal(got, value if with_plain or not value.is_floating_point() else value.half().float())


@pytest.mark.parametrize("stated,expected", [({"n_views": 2}, 2), ({}, 4), (None, 4)])
def test_the_number_of_views(folder, stated, expected):
    """As model_index.json says; without a word, four for a UNet that takes cameras."""
    index = folder / "model_index.json"
    index.unlink() if stated is None else index.write_text(json.dumps(stated))
    backbone = load_backbone(str(folder))
    assert backbone.n_views == expected
    assert {type(p) for p in backbone.unet.attn_processors.values()} == {JointViewAttention}
    assert {p.n_views for p in backbone.unet.attn_processors.values()} == {expected}


def test_a_plain_stable_diffusion_folder(tmp_path):
    backbone = load_backbone(str(write_sd_folder(tmp_path / "sd")))
    assert isinstance(backbone.vae, AutoencoderKL) and backbone.prediction_type == "epsilon"
    assert (backbone.n_views, backbone.image_size) == (1, 16)
    assert not any(isinstance(p, JointViewAttention) for p in backbone.unet.attn_processors.values())
    # The schedule is the folder's own: SD's scaled-linear betas, computed here in float64.
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    expected = (1 - betas).cumprod(0).float()
    torch.testing.assert_close(backbone.alphas_cumprod, expected, rtol=1e-4, atol=0)
    generator = torch.Generator().manual_seed(0)
    latents, text = torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 16, 16, generator=generator)
    timesteps = torch.tensor([1, 500, 999])
    direct = backbone.unet(latents, timesteps, encoder_hidden_states=text).sample
    torch.testing.assert_close(backbone.predict(latents, timesteps, text), direct)
    pixels = torch.rand(1, 3, 16, 16, generator=generator) * 2 - 1
    restored = backbone.decode_latents(backbone.encode_images(pixels))
    mode = backbone.vae.encode(pixels).latent_dist.mode()
    torch.testing.assert_close(restored, backbone.vae.decode(mode).sample, atol=1e-4, rtol=1e-4)
