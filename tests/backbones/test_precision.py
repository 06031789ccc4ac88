"""Which part computes in which precision, and that half precision ruins nothing."""

from dataclasses import replace

import pytest
import torch

from dreamdist3d.backbones import load_backbone, resolve_precision, sample_images, set_precision
from dreamdist3d.guidance import MultiviewGuidance
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.cameras import CameraRanges, sample_cameras
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder
from tests.backbones.tiny import tiny_vae
from tests.prompts.tiny import LENGTH, WIDTH

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.fixture
def backbone(tiny_backbone):
    return load_backbone(str(tiny_backbone))


def dtypes(module):
    return {value.dtype for value in module.parameters()}


@pytest.mark.parametrize("capability,expected", [((7, 5), torch.float16), ((8, 0), torch.bfloat16)])
def test_auto_is_what_the_device_computes_in(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", "cuda") == expected
    assert resolve_precision("auto", "cpu") == torch.float32


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_precision_asked_for_is_given(device):
    asked = {"fp32": torch.float32, **HALF}
    assert {name: resolve_precision(name, device) for name in asked} == asked


@pytest.mark.parametrize("precision,vae", [("fp32", torch.float32), ("fp16", torch.float32), ("bf16", torch.bfloat16)])
def test_each_part_has_its_own(backbone, precision, vae):
    assert set_precision(backbone, resolve_precision(precision, "cpu")) is backbone
    assert dtypes(backbone.unet) == {backbone.dtype} == {resolve_precision(precision, "cpu")}
    assert dtypes(backbone.vae) == {backbone.vae_dtype} == {vae}
    assert dtypes(backbone.text_encoder) == {torch.float32}


@pytest.mark.parametrize("capability,expected", [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_beside_a_float16_unet_the_autoencoder_has_float32s_range(backbone, monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert set_precision(replace(backbone, device=torch.device("cuda")), torch.float16).vae_dtype == expected


@pytest.mark.parametrize("precision", HALF)
def test_the_moments_and_the_fingerprint_do_not_depend_on_it(backbone, tiny_backbone, tiny_distribution, precision):
    set_precision(backbone, HALF[precision])
    distribution = PromptDistribution.load(tiny_distribution)
    distribution.check_encoder(backbone)
    moments = [
        distribution.moments(SoftPromptEncoder(model.tokenizer, model.text_encoder))
        for model in (backbone, load_backbone(str(tiny_backbone)))
    ]
    assert moments[0].mu.dtype == torch.float32 and torch.equal(moments[0].mu, moments[1].mu)


def overflowing(backbone):
    """An autoencoder whose first layers reach 1e6 and whose later ones normalise it away, as SDXL's does."""
    vae = tiny_vae().eval().requires_grad_(False)
    for block in (vae.encoder, vae.decoder):
        for parameter in block.conv_in.parameters():
            parameter.mul_(1e6)
    return replace(backbone, vae=vae)


@pytest.fixture
def pixels():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_overflowing_autoencoder_does_overflow_in_float16(backbone, pixels):
    vae = overflowing(backbone).vae.half()
    assert not vae.encode(pixels.half()).latent_dist.mean.isfinite().all()
    assert not vae.decode(torch.randn(2, 4, 8, 8).half()).sample.isfinite().all()


@pytest.mark.parametrize("precision,tolerance", [("fp16", 0.0), ("bf16", 0.05)])
def test_an_autoencoder_that_overflows_in_float16_is_right_in_half_precision(backbone, pixels, precision, tolerance):
    full, half = (set_precision(overflowing(backbone), dtype) for dtype in (torch.float32, HALF[precision]))
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    results = []
    for model in (full, half):
        seen = pixels.clone().requires_grad_()
        encoded = model.encode_images(seen)
        encoded.square().sum().backward()
        results.append((encoded.detach(), seen.grad, model.decode_latents(latents)))
    for expected, found in zip(*results, strict=True):
        assert found.dtype == torch.float32 and found.isfinite().all()
        assert float((found - expected).norm()) <= tolerance * float(expected.norm())


@pytest.fixture
def texts():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(LENGTH, WIDTH, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("kind", ["x0", "sds"])
@pytest.mark.parametrize("precision", HALF)
def test_guidance_in_half_precision_points_the_same_way(tiny_backbone, texts, kind, precision):
    rgb = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    cameras = sample_cameras(CameraRanges(), 1, torch.Generator().manual_seed(1))
    results = []
    for dtype in (torch.float32, HALF[precision]):
        backbone = set_precision(load_backbone(str(tiny_backbone)), dtype)
        guidance = MultiviewGuidance(backbone, *texts, GuidanceConfig(kind=kind))
        seen = rgb.clone().requires_grad_()
        loss = guidance(seen, cameras, 0.5, torch.Generator().manual_seed(0), torch.zeros(3))
        loss.backward()
        assert loss.dtype == seen.grad.dtype == torch.float32
        results.append(seen.grad.flatten())
    assert float(torch.cosine_similarity(*results, dim=0)) > 0.99


@pytest.mark.parametrize("precision", HALF)
def test_pictures_in_half_precision_look_the_same(tiny_backbone, texts, precision):
    noise = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text, negative = texts[0].expand(4, -1, -1), texts[1]
    full, half = (
        sample_images(set_precision(load_backbone(str(tiny_backbone)), dtype), text, negative, noise, 3.0, steps=4)
        for dtype in (torch.float32, HALF[precision])
    )
    assert half.dtype == torch.float32
    assert float((full - half).abs().mean()) < 0.02 < float(full.std())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16", "bf16"])
def test_a_step_of_guidance_on_the_gpu(tiny_backbone, texts, precision):
    backbone = set_precision(load_backbone(str(tiny_backbone), "cuda"), resolve_precision(precision, "cuda"))
    guidance = MultiviewGuidance(backbone, *texts, GuidanceConfig())
    rgb = torch.rand(4, 3, 16, 16, device="cuda").requires_grad_()
    cameras = sample_cameras(CameraRanges(), 1, torch.Generator().manual_seed(1)).to("cuda")
    guidance(rgb, cameras, 0.5, torch.Generator().manual_seed(0), torch.zeros(3)).backward()
    assert rgb.grad.isfinite().all() and rgb.grad.abs().max() > 0
