"""Conventions that ruin results without an error when they are wrong, each against its formula in float64."""

import copy
import json
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from transformers import CLIPTextModel

from dreamdist3d.backbones import (
    add_noise,
    diffusion_target,
    fingerprint_of,
    load_backbone,
    predicted_noise,
    predicted_x0,
    set_precision,
)
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.learning.objective import min_snr_weight
from tests.backbones.tiny import write_sd_folder
from tests.prompts.tiny import EOS, LENGTH, WIDTH, tiny_text_encoder, tiny_tokenizer

GAMMA = 5.0
STEPS = np.arange(1000)


@pytest.fixture
def sd_folder(tmp_path):
    return write_sd_folder(tmp_path / "sd")


def edit_json(path, drop=(), **changes):
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if key not in drop}))


def published_alphas():
    """Stable Diffusion's schedule: sqrt(beta) linear from sqrt(0.00085) to sqrt(0.012) over 1000 steps, float64."""
    low, high = np.sqrt(0.00085), np.sqrt(0.012)
    return np.cumprod(1 - (low + (high - low) * STEPS / 999) ** 2)


# --- the autoencoder's scale -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes,scale,shift",
    [
        ({}, 0.18215, 0.0),
        ({"drop": ["scaling_factor"]}, 0.18215, 0.0),  # Stable Diffusion 1.x states none
        ({"scaling_factor": 0.13025}, 0.13025, 0.0),
        ({"scaling_factor": 1.5305, "shift_factor": 0.0609}, 1.5305, 0.0609),
    ],
)
def test_the_autoencoders_scale_and_shift_are_its_configurations(sd_folder, changes, scale, shift):
    edit_json(sd_folder / "vae" / "config.json", **changes)
    backbone = load_backbone(str(sd_folder))
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    raw = backbone.vae.encode(pixels).latent_dist.mode()
    torch.testing.assert_close(backbone.encode_images(pixels), (raw - shift) * scale)
    torch.testing.assert_close(backbone.decode_latents((raw - shift) * scale), backbone.vae.decode(raw).sample)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_tiny_autoencoders_scale_is_its_configurations(tiny_backbone, tmp_path, scale):
    folder = tmp_path / "model"
    folder.mkdir()
    for part in ("tokenizer", "text_encoder", "unet", "scheduler"):
        (folder / part).symlink_to(tiny_backbone / part)
    vae = load_backbone(str(tiny_backbone)).vae
    vae.register_to_config(scaling_factor=scale)
    vae.save_pretrained(folder / "vae")
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(load_backbone(str(folder)).encode_images(pixels), vae.encode(pixels).latents * scale)


# --- what the UNet predicts --------------------------------------------------------------------------------


@pytest.fixture(params=["epsilon", "v_prediction"])
def backbone(request, sd_folder):
    edit_json(sd_folder / "scheduler" / "scheduler_config.json", prediction_type=request.param)
    backbone = load_backbone(str(sd_folder))
    assert backbone.prediction_type == request.param
    return backbone


def answer_by_hand(kind, z, eps, a):
    """eps, or v = sqrt(a) eps - sqrt(1 - a) z (Salimans and Ho 2022)."""
    return eps if kind == "epsilon" else np.sqrt(a) * eps - np.sqrt(1 - a) * z


def test_noise_target_and_round_trip_are_the_formulas(backbone):
    rng, times = np.random.default_rng(0), np.array([0, 1, 250, 500, 900, 999])
    z, eps = rng.normal(size=(2, 6, 4, 2, 2))
    a = published_alphas()[times].reshape(-1, 1, 1, 1)
    noisy, answer = np.sqrt(a) * z + np.sqrt(1 - a) * eps, answer_by_hand(backbone.prediction_type, z, eps, a)
    z, eps, noisy, answer = (torch.from_numpy(x).float() for x in (z, eps, noisy, answer))
    t = torch.from_numpy(times)
    torch.testing.assert_close(add_noise(backbone, z, eps, t), noisy, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(diffusion_target(backbone, z, eps, t), answer, atol=1e-5, rtol=1e-5)
    # At t = 999 an error of one float32 rounding in eps grows by sqrt(1 - a) / sqrt(a) = 15 in z.
    torch.testing.assert_close(predicted_x0(backbone, noisy, answer, t), z, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(predicted_noise(backbone, noisy, answer, t), eps, atol=1e-4, rtol=1e-4)


def test_min_snr_weighs_the_error_of_x0_by_min_snr_gamma_whatever_is_predicted(backbone):
    """Hang et al. 2023, section 3.4: the weights of all parametrisations mean min(snr, gamma) ||z - x0||^2."""
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([1, 100, 300, 500, 700, 999])
    z, eps, error = (torch.randn(6, 4, 8, 8, generator=generator) for _ in range(3))
    noisy, target = (f(backbone, z, eps, t) for f in (add_noise, diffusion_target))
    squared = (predicted_x0(backbone, noisy, target + error, t) - z).double().square().sum((1, 2, 3))
    a = torch.from_numpy(published_alphas())[t]
    weight = min_snr_weight(backbone.alphas_cumprod[t], GAMMA, backbone.prediction_type).double()
    weighted = weight * error.double().square().sum((1, 2, 3))
    torch.testing.assert_close(weighted, (a / (1 - a)).clamp(max=GAMMA) * squared, atol=0, rtol=1e-3)


# --- the noise schedule ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_schedule_is_the_published_one_whatever_sampler_the_folder_names(sd_folder, kind, prediction_type):
    made = getattr(diffusers, kind)(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction_type
    )
    made.save_pretrained(sd_folder / "scheduler")
    backbone = load_backbone(str(sd_folder))
    assert backbone.prediction_type == prediction_type and backbone.alphas_cumprod.dtype == torch.float32
    np.testing.assert_allclose(backbone.alphas_cumprod.numpy(), published_alphas(), rtol=2e-5)
    # The figures of the published checkpoint's own buffers.
    assert backbone.alphas_cumprod[[0, -1]].tolist() == pytest.approx([0.99915, 0.0046600], rel=1e-3)


def test_half_precision_leaves_the_schedule_alone(sd_folder):
    full, half = load_backbone(str(sd_folder)), set_precision(load_backbone(str(sd_folder)), torch.bfloat16)
    assert torch.equal(half.alphas_cumprod, full.alphas_cumprod)
    z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    noisy = [add_noise(b, z, z.flip(0), torch.tensor([10, 990])) for b in (full, half)]
    assert torch.equal(*noisy) and noisy[1].dtype == torch.float32


# --- the timestep embedding --------------------------------------------------------------------------------


def ldm_embedding(times, width):
    """Latent Diffusion's order: all cosines, then all sines; frequencies 10000^(-i / (width / 2))."""
    frequencies = 10000.0 ** (-np.arange(width // 2) / (width // 2))
    angles = np.asarray(times)[:, None] * frequencies
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize("source", ["tiny", "sd", "mini"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_timesteps_are_embedded_as_in_latent_diffusion(tiny_backbone, sd_folder, source, dtype):
    """In half precision too: 999 is no bfloat16 number."""
    backbone = load_backbone({"tiny": str(tiny_backbone), "sd": str(sd_folder), "mini": "mini"}[source])
    set_precision(backbone, dtype)
    embedded = []
    backbone.unet.time_proj.register_forward_hook(lambda module, given, output: embedded.append(output))
    times = [0, 1, 500, 997, 999]
    size, width = backbone.unet.config.sample_size, backbone.unet.config.cross_attention_dim
    latents = torch.zeros(5, backbone.unet.config.in_channels, size, size)
    with torch.no_grad():
        backbone.predict(latents, torch.tensor(times), torch.zeros(5, 3, width))
    expected = ldm_embedding(times, backbone.unet.config.block_out_channels[0])
    np.testing.assert_allclose(embedded[0].numpy(), expected, atol=1e-4)


# --- the text encoder --------------------------------------------------------------------------------------


def test_the_shipped_truncated_encoder_is_the_penultimate_layer(tmp_path):
    """Stable Diffusion 2.x was trained on OpenCLIP's last layer but one, normalised: its folder ships 23 of 24."""
    tokenizer = tiny_tokenizer(tmp_path, pad="!")
    shipped = tiny_text_encoder(tokenizer)
    config = copy.deepcopy(shipped.config)
    config.num_hidden_layers += 1
    whole = CLIPTextModel(config).eval().requires_grad_(False)
    assert len(whole.load_state_dict(shipped.state_dict(), strict=False).missing_keys) == 16
    texts = ["a photo of cat", "red dog at night"]
    found = SoftPromptEncoder(tokenizer, shipped).encode_text(texts).hidden
    ids = tokenizer(texts, padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids
    layers = whole(input_ids=ids, output_hidden_states=True)
    norm = getattr(whole, "text_model", whole).final_layer_norm
    torch.testing.assert_close(found, norm(layers.hidden_states[-2]))
    assert (found - layers.last_hidden_state).abs().max() > 0.1


@pytest.mark.parametrize("pad", [EOS, "!"])
def test_either_pad_token_is_the_tokenizers_own_padding(tmp_path, pad):
    """The end mark in Stable Diffusion 1.x, "!" (id 0) in 2.x."""
    tokenizer = tiny_tokenizer(tmp_path, pad=pad)
    model = tiny_text_encoder(tokenizer)
    texts = ["", "cat", "a photo of red cat at night"]
    ids = tokenizer(texts, padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids
    assert ids[0, -1] == tokenizer.convert_tokens_to_ids(pad)
    features = SoftPromptEncoder(tokenizer, model).encode_text(texts)
    expected = model(input_ids=ids)[0]
    torch.testing.assert_close(features.hidden, expected)
    torch.testing.assert_close(features.pooled, expected[range(3), [1, 2, 8]])  # where each text ends


class TextModelOfTransformers4(torch.nn.Module):
    """The encoder below `.text_model`, as transformers 4 lays it out; weights are named accordingly."""

    def __init__(self, inner):
        super().__init__()
        self.text_model, self.config = inner, inner.config

    def get_input_embeddings(self):
        return self.text_model.get_input_embeddings()

    def forward(self, **given):
        return self.text_model(**given)


def test_either_layout_of_the_text_encoder_gives_features_and_fingerprint(tmp_path):
    tokenizer = tiny_tokenizer(tmp_path)
    layouts = tiny_text_encoder(tokenizer), TextModelOfTransformers4(tiny_text_encoder(tokenizer))
    assert all(name.startswith("text_model.") for name in layouts[1].state_dict())
    assert fingerprint_of(tokenizer, layouts[0]) == fingerprint_of(tokenizer, layouts[1])
    tokens = torch.randn(3, 2, WIDTH, generator=torch.Generator().manual_seed(0))
    new, old = (SoftPromptEncoder(tokenizer, layout).encode(tokens, "a photo of", "at night") for layout in layouts)
    assert torch.equal(new.hidden, old.hidden) and torch.equal(new.pooled, old.pooled)


# --- checkpoints in half precision -------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float16, torch.bfloat16])
def test_half_precision_files_compute_in_what_is_asked_for(sd_folder, stored, wanted):
    full = load_backbone(str(sd_folder))
    for part in ("text_encoder", "vae", "unet"):
        copy.deepcopy(getattr(full, part)).to(stored).save_pretrained(sd_folder / part)
    backbone = set_precision(load_backbone(str(sd_folder)), wanted)
    assert {p.dtype for p in backbone.unet.parameters()} == {wanted}
    for name, weight in backbone.text_encoder.state_dict().items():
        if weight.is_floating_point():
            assert torch.equal(weight, full.text_encoder.state_dict()[name].to(stored).float()), name
    rounded = copy.deepcopy(full.text_encoder).to(stored)
    assert backbone.fingerprint == fingerprint_of(full.tokenizer, rounded)
    assert (backbone.fingerprint == full.fingerprint) == (stored == torch.float16)
    assert replace(backbone, dtype=wanted).vae_dtype == (torch.bfloat16 if wanted == torch.bfloat16 else torch.float32)
