"""Less memory and compiled code, the same numbers."""

from dataclasses import replace

import pytest
import torch

from dreamdist3d.backbones import compile_unet, load_backbone, release_text_encoder, sample_images
from dreamdist3d.guidance import MultiviewGuidance
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.cameras import CameraRanges, sample_cameras
from dreamdist3d.prompts import SoftPromptEncoder
from tests.backbones.tiny import tiny_vae
from tests.prompts.tiny import LENGTH, WIDTH

NEAR = {"atol": 1e-6, "rtol": 1e-5}


@pytest.fixture(params=["AutoencoderTiny", "AutoencoderKL"])
def pair(request, tiny_backbone):
    """A backbone as it is loaded, and the same with little memory."""
    plain, small = (load_backbone(str(tiny_backbone)) for _ in range(2))
    if request.param == "AutoencoderKL":
        plain, small = (replace(b, vae=tiny_vae().eval().requires_grad_(False)) for b in (plain, small))
    return plain, replace(small, low_vram=True)


@pytest.fixture
def texts():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(LENGTH, WIDTH, generator=generator) for _ in range(2)]


def count_calls(module):
    """The batch sizes that `module` is called with, as they come."""
    sizes = []
    module.register_forward_hook(lambda module, given, output: sizes.append(len(given[0])))
    return sizes


def guide(backbone, texts):
    rgb = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(2)).requires_grad_()
    cameras = sample_cameras(CameraRanges(), 2, torch.Generator().manual_seed(1))
    guidance = MultiviewGuidance(backbone, *texts, GuidanceConfig())
    loss = guidance(rgb, cameras, 0.5, torch.Generator().manual_seed(0), torch.zeros(3))
    loss.backward()
    return loss.detach(), rgb.grad


def test_the_two_sides_of_guidance_are_the_same_in_one_call_or_two(pair):
    generator = torch.Generator().manual_seed(0)
    latents, cameras = torch.randn(8, 4, 8, 8, generator=generator), torch.randn(8, 16, generator=generator)
    texts = torch.randn(2, 8, LENGTH, WIDTH, generator=generator)
    timesteps = torch.tensor([400] * 4 + [900] * 4)
    one, two = (backbone.predict_pair(latents, timesteps, *texts, cameras, 4) for backbone in pair)
    for side, (found, expected) in enumerate(zip(two, one, strict=True)):
        torch.testing.assert_close(found, expected, **NEAR)
        alone = pair[0].predict(latents, timesteps, texts[side], cameras, 4)
        torch.testing.assert_close(found, alone, **NEAR)


def test_guidance_is_the_same_in_halves_and_slices(pair, texts):
    sizes = [(count_calls(backbone.unet), count_calls(backbone.vae.encoder)) for backbone in pair]
    (loss, gradient), (small_loss, small_gradient) = (guide(backbone, texts) for backbone in pair)
    torch.testing.assert_close(small_loss, loss, **NEAR)
    # A guidance scale of 50 enlarges what the order of summation changes.
    torch.testing.assert_close(small_gradient, gradient, atol=1e-5 * float(gradient.abs().max()), rtol=0)
    assert sizes[0] == ([16], [8]) and sizes[1][0] == [8, 8]
    assert sizes[1][1][:8] == [1] * 8 and max(sizes[1][1]) == 1


def test_pictures_are_the_same_in_halves_and_slices(pair, texts):
    noise = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    cameras = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    plain, small = (
        sample_images(b, texts[0].expand(4, -1, -1), texts[1], noise, 3.0, steps=3, cameras=cameras, n_views=4)
        for b in pair
    )
    torch.testing.assert_close(small, plain, atol=1e-5, rtol=0)


def kept_bytes(work):
    """Bytes that the forward pass keeps for the backward pass, weights left out."""
    kept = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(kept.values())


def test_a_generator_draws_the_same_posterior(pair):
    pixels = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, small = (backbone.encode_images(pixels, torch.Generator().manual_seed(1)) for backbone in pair)
    torch.testing.assert_close(small, plain, **NEAR)


def test_the_lifts_gradient_keeps_less_of_the_autoencoder(pair):
    pixels = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    plain, small = (kept_bytes(lambda b=backbone: b.encode_images(pixels)) for backbone in pair)
    assert small < plain / 5


def test_a_released_text_encoder_still_encodes(tiny_backbone):
    backbone = load_backbone(str(tiny_backbone))
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    before = encoder.encode_text(["a cat"]).hidden
    release_text_encoder(backbone)
    assert torch.equal(encoder.encode_text(["a cat"]).hidden, before)


@pytest.fixture
def counters():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters
    torch._dynamo.reset()


@pytest.mark.forked
@pytest.mark.slow
def test_a_compiled_unet_is_the_same_in_one_graph(tiny_backbone, texts, counters):
    plain, compiled = (load_backbone(str(tiny_backbone)) for _ in range(2))
    names = set(compiled.unet.state_dict())
    compile_unet(compiled)
    expected = guide(plain, texts)
    for _ in range(2):
        for found, wanted in zip(guide(compiled, texts), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-4 * float(wanted.abs().max()), rtol=1e-3)
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
    assert set(compiled.unet.state_dict()) == names and compiled.unet.config.sample_size == 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_it_leaves_the_gpu(tiny_backbone):
    backbone = load_backbone(str(tiny_backbone), "cuda")
    before = torch.cuda.memory_allocated()
    release_text_encoder(backbone)
    assert torch.cuda.memory_allocated() < before
