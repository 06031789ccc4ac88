"""Noise algebra, the autoencoder's scale and the fingerprint of a `Backbone`."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderTiny, DDPMScheduler

from dreamdist3d.backbones import (
    add_noise,
    diffusion_target,
    fingerprint_of,
    load_backbone,
    predicted_noise,
    predicted_x0,
)
from tests.backbones.tiny import tiny_vae, write_sd_folder
from tests.prompts.tiny import tiny_text_encoder, tiny_tokenizer


@pytest.fixture(scope="module")
def backbone(tiny_backbone):
    return load_backbone(str(tiny_backbone))


def rescheduled(backbone, prediction_type):
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", prediction_type=prediction_type)
    return replace(backbone, scheduler=scheduler)


@pytest.fixture
def latents():
    return torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def noise():
    return torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(1))


TIMESTEPS = torch.tensor([0, 1, 250, 500, 750, 990])


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_noise_and_target_are_the_schedulers(backbone, latents, noise, prediction_type):
    backbone = rescheduled(backbone, prediction_type)
    noisy = backbone.scheduler.add_noise(latents, noise, TIMESTEPS)
    torch.testing.assert_close(add_noise(backbone, latents, noise, TIMESTEPS), noisy)
    velocity = backbone.scheduler.get_velocity(latents, noise, TIMESTEPS)
    expected = noise if prediction_type == "epsilon" else velocity
    torch.testing.assert_close(diffusion_target(backbone, latents, noise, TIMESTEPS), expected)


@pytest.mark.parametrize("prediction_type,tolerance", [("epsilon", 1e-4), ("v_prediction", 1e-5)])
def test_a_perfect_answer_gives_back_image_and_noise(backbone, latents, noise, prediction_type, tolerance):
    backbone = rescheduled(backbone, prediction_type)
    noisy = add_noise(backbone, latents, noise, TIMESTEPS)
    answer = diffusion_target(backbone, latents, noise, TIMESTEPS)
    near = {"atol": tolerance, "rtol": tolerance}
    torch.testing.assert_close(predicted_x0(backbone, noisy, answer, TIMESTEPS), latents, **near)
    torch.testing.assert_close(predicted_noise(backbone, noisy, answer, TIMESTEPS), noise, **near)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_any_answer_means_one_image_and_one_noise_that_make_up_the_input(backbone, latents, noise, prediction_type):
    backbone = rescheduled(backbone, prediction_type)
    answer = torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    x0, eps = (f(backbone, latents, answer, TIMESTEPS) for f in (predicted_x0, predicted_noise))
    torch.testing.assert_close(add_noise(backbone, x0, eps, TIMESTEPS), latents, atol=1e-4, rtol=1e-4)


@pytest.fixture(params=[None, 0.3])
def with_posterior(backbone, request):
    """The backbone with an AutoencoderKL, without and with a shift (`shift_factor` of newer models)."""
    vae = tiny_vae().eval().requires_grad_(False)
    vae.register_to_config(shift_factor=request.param)
    return replace(backbone, vae=vae)


@pytest.fixture
def pixels():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(4)) * 2 - 1


def test_latents_are_the_shifted_and_scaled_mode(with_posterior, pixels):
    moments = with_posterior.vae.encode(pixels).latent_dist
    shift = with_posterior.vae.config.shift_factor or 0.0
    torch.testing.assert_close(with_posterior.encode_images(pixels), (moments.mean - shift) * 0.18215)


def test_a_generator_samples_the_posterior(with_posterior, pixels):
    moments = with_posterior.vae.encode(pixels).latent_dist
    drawn = torch.randn(moments.mean.shape, generator=torch.Generator().manual_seed(9))
    shift = with_posterior.vae.config.shift_factor or 0.0
    expected = (moments.mean + moments.std * drawn - shift) * 0.18215
    torch.testing.assert_close(with_posterior.encode_images(pixels, torch.Generator().manual_seed(9)), expected)


def test_decoding_undoes_scale_and_shift(with_posterior):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(6))
    shift = with_posterior.vae.config.shift_factor or 0.0
    expected = with_posterior.vae.decode(latents).sample
    torch.testing.assert_close(with_posterior.decode_latents((latents - shift) * 0.18215), expected)


def test_an_autoencoder_without_a_posterior(backbone, pixels):
    assert isinstance(backbone.vae, AutoencoderTiny)
    scaled = replace(backbone, vae=AutoencoderTiny.from_config(backbone.vae.config, scaling_factor=2.5))
    scaled.vae.load_state_dict(backbone.vae.state_dict())
    latents = scaled.vae.encode(pixels).latents
    for generator in (None, torch.Generator().manual_seed(0)):
        torch.testing.assert_close(scaled.encode_images(pixels, generator), latents * 2.5)
    torch.testing.assert_close(scaled.decode_latents(latents * 2.5), scaled.vae.decode(latents).sample)


@pytest.mark.parametrize("through", ["encode_images", "decode_latents"])
def test_gradients_flow_through_frozen_weights(with_posterior, pixels, through):
    given = (pixels if through == "encode_images" else torch.randn(2, 4, 8, 8)).double().requires_grad_()
    with_posterior.vae.double()
    call = getattr(replace(with_posterior, dtype=torch.float64), through)
    direction = torch.randn(given.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    call(given).sin().sum().backward()
    step = 1e-6
    with torch.no_grad():
        ahead, behind = (call(given + sign * step * direction).sin().sum() for sign in (1, -1))
    slope = float((given.grad * direction).sum())
    assert slope == pytest.approx(float((ahead - behind) / (2 * step)), rel=1e-5)
    assert all(p.grad is None for p in with_posterior.vae.parameters())


def test_the_fingerprint_is_of_weights_and_words(tmp_path):
    tokenizer = tiny_tokenizer(tmp_path / "tokenizer")
    fingerprint = fingerprint_of(tokenizer, tiny_text_encoder(tokenizer))
    assert fingerprint_of(tiny_tokenizer(tmp_path / "elsewhere"), tiny_text_encoder(tokenizer)) == fingerprint
    for name, _ in tiny_text_encoder(tokenizer).named_parameters():
        changed = tiny_text_encoder(tokenizer)
        changed.get_parameter(name).view(-1)[0] += 1e-3
        assert fingerprint_of(tokenizer, changed) != fingerprint, name
    tokenizer.add_tokens(["mushroom"])
    assert fingerprint_of(tokenizer, tiny_text_encoder(tiny_tokenizer(tmp_path / "again"))) != fingerprint


def test_the_fingerprint_is_of_the_text_side_alone(tmp_path, tiny_backbone, backbone):
    """Another folder, UNet, autoencoder and scheduler around the same words and text encoder."""
    (tmp_path / "link").symlink_to(tiny_backbone)
    assert load_backbone(str(tmp_path / "link")).fingerprint == backbone.fingerprint
    folder = write_sd_folder(tmp_path / "sd")
    tiny_text_encoder(tiny_tokenizer(folder / "tokenizer")).save_pretrained(folder / "text_encoder")
    assert load_backbone(str(folder)).fingerprint == backbone.fingerprint
