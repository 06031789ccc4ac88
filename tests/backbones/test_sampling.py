"""DDIM pictures against the update written out by hand."""

from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler

from dreamdist3d.backbones import latent_shape, load_backbone, sample_images
from tests.prompts.tiny import LENGTH, WIDTH

STEPS = 5


@pytest.fixture(scope="module", params=["v_prediction", "epsilon"])
def backbone(tiny_backbone, request):
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", prediction_type=request.param, clip_sample=True)
    return replace(load_backbone(str(tiny_backbone)), scheduler=scheduler)


@pytest.fixture(scope="module")
def given(backbone):
    generator = torch.Generator().manual_seed(0)
    return {
        "text": torch.randn(4, LENGTH, WIDTH, generator=generator),
        "negative": torch.randn(LENGTH, WIDTH, generator=generator),
        "noise": torch.randn(4, *latent_shape(backbone), generator=generator),
        "steps": STEPS,
    }


def ddim(backbone, given, answer):
    """z_s = sqrt(abar_s) x0 + sqrt(1 - abar_s) eps, from t = T - 1 down; the last step lands on abar_0."""
    total = len(backbone.alphas_cumprod)
    times = [round(total - i * total / STEPS) - 1 for i in range(STEPS)]
    latents = given["noise"]
    for t in times:
        earlier = t - total // STEPS
        now = float(backbone.alphas_cumprod[t])
        then = float(backbone.alphas_cumprod[max(earlier, 0)]) if earlier >= 0 else 1.0
        output = answer(latents, torch.full((len(latents),), t))
        if backbone.prediction_type == "epsilon":
            noise, x0 = output, (latents - (1 - now) ** 0.5 * output) / now**0.5
        else:
            noise = now**0.5 * output + (1 - now) ** 0.5 * latents
            x0 = now**0.5 * latents - (1 - now) ** 0.5 * output
        latents = then**0.5 * x0 + (1 - then) ** 0.5 * noise
    return (backbone.decode_latents(latents) / 2 + 0.5).clamp(0, 1)


def test_without_guidance_it_is_plain_ddim_and_the_negative_has_no_say(backbone, given):
    cameras = torch.randn(4, 16, generator=torch.Generator().manual_seed(2))
    expected = ddim(backbone, given, lambda z, t: backbone.predict(z, t, given["text"], cameras, 4))
    pictures = sample_images(backbone, **given, guidance_scale=1.0, cameras=cameras, n_views=4)
    torch.testing.assert_close(pictures, expected, atol=1e-4, rtol=0)
    other = {**given, "negative": torch.zeros(LENGTH, WIDTH)}
    without = sample_images(backbone, **other, guidance_scale=1.0, cameras=cameras, n_views=4)
    torch.testing.assert_close(without, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_guidance_and_rescale(backbone, given, rescale):
    def answer(z, t):
        with_text = backbone.predict(z, t, given["text"])
        without = backbone.predict(z, t, given["negative"].expand(4, -1, -1))
        guided = without + 3.0 * (with_text - without)
        rescaled = torch.stack([g * t.std() / g.std() for g, t in zip(guided, with_text, strict=True)])
        return rescale * rescaled + (1 - rescale) * guided

    expected = ddim(backbone, given, answer)
    pictures = sample_images(backbone, **given, guidance_scale=3.0, rescale=rescale)
    torch.testing.assert_close(pictures, expected, atol=1e-4, rtol=0)


def test_the_same_noise_gives_the_same_pictures_in_range(backbone, given):
    first, second = (sample_images(backbone, **given, guidance_scale=4.0) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (4, 3, 16, 16) and first.min() >= 0 and first.max() <= 1
    assert (first - sample_images(backbone, **given | {"noise": -given["noise"]}, guidance_scale=4.0)).abs().max() > 0
