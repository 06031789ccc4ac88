"""What renders are noised with, and how far they are denoised."""

import pytest
import torch

from dreamdist3d.backbones import add_noise, predicted_x0
from dreamdist3d.guidance import Condition, MultiviewGuidance, guidance_for
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.cameras import CameraRanges, sample_cameras
from dreamdist3d.lift.renders import Guidance, Renders
from tests.guidance.fakes import CHANNELS, LENGTH, WIDTH, linear_backbone
from tests.guidance.test_together import asset

SHAPE = (4, CHANNELS, 4, 4)


def seen_from(azimuth: float, seed: int) -> Renders:
    """Four views, the first from this azimuth."""
    cameras = sample_cameras(CameraRanges(), 1, torch.Generator().manual_seed(seed))
    turned = azimuth + torch.arange(4) * 90.0
    cameras = type(cameras)(cameras.c2w, cameras.fov_deg, turned, cameras.elevation_deg, cameras.distance)
    return Renders(torch.zeros(4, 3, 8, 8), cameras, 0.5, torch.Generator().manual_seed(seed), torch.zeros(3))


def guidance(seed: int = 0, **settings: object) -> MultiviewGuidance:
    text = torch.zeros(LENGTH, WIDTH)
    return MultiviewGuidance(linear_backbone(), text, text, GuidanceConfig(**settings), seed=seed)


def test_fixed_noise_belongs_to_the_asset_and_its_side_and_not_to_the_step() -> None:
    one = guidance(noise="fixed").noise(SHAPE, seen_from(3.0, 1))
    again = guidance(noise="fixed").noise(SHAPE, seen_from(-20.0, 2))  # another step, nearly the same sides
    assert torch.equal(one, again)
    turned = guidance(noise="fixed").noise(SHAPE, seen_from(93.0, 3))
    assert torch.equal(turned[0], one[1]) and torch.equal(turned[3], one[0])
    assert not torch.equal(guidance(noise="fixed").noise(SHAPE, seen_from(45.0, 1)), one)
    assert not torch.equal(guidance(1, noise="fixed").noise(SHAPE, seen_from(3.0, 1)), one)
    assert abs(float(one.std()) - 1) < 0.1 and len({float(view.sum()) for view in one}) == 4


def test_fresh_noise_is_the_steps_own() -> None:
    one, again = (guidance().noise(SHAPE, seen_from(3.0, seed)) for seed in (1, 2))
    assert not torch.equal(one, again)
    torch.testing.assert_close(one, torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("steps", [1, 3])
def test_the_target_is_the_end_of_that_many_guided_steps(steps: int) -> None:
    """DDIM from the drawn timestep down, written out; guidance 1 without rescaling, so that the text alone counts."""
    config = GuidanceConfig(guidance_scale=1.0, recon_std_rescale=0.0, target_steps=steps)
    text, negative, renders = asset(0)
    backbone = linear_backbone()
    (loss,) = MultiviewGuidance(backbone, text, negative, config).losses([renders])
    asked = backbone.unet.seen
    assert len(asked) == steps
    start = int(asked[0]["timesteps"][0])
    assert [int(call["timesteps"][0]) for call in asked] == [
        start * left // steps if left == steps else int(asked[steps - left]["timesteps"][0])
        for left in range(steps, 0, -1)
    ]
    noisy, x0, noise = asked[0]["latents"][:4], None, None
    for call in asked:
        times, alpha = call["timesteps"][:4], backbone.alphas_cumprod[call["timesteps"][:4]].view(-1, 1, 1, 1)
        if x0 is not None:
            noisy = add_noise(backbone, x0, noise, times)
        torch.testing.assert_close(call["latents"][:4], noisy)
        x0 = predicted_x0(backbone, noisy, backbone.unet.answer(noisy, call["text"][:4], call["cameras"][:4]), times)
        noise = (noisy - alpha.sqrt() * x0) / (1 - alpha).sqrt()
    latents = backbone.encode_images(renders.rgb.detach() * 2 - 1)
    torch.testing.assert_close(loss.detach(), 0.5 * (latents - x0).square().sum() / 4)


@pytest.mark.parametrize("kind", ["x0", "sds"])
def test_guidances_are_found_by_name_and_keep_the_protocol(kind: str) -> None:
    text, negative, renders = asset(0)
    found = guidance_for(linear_backbone(), Condition(text, negative), GuidanceConfig(kind=kind), seed=0)
    assert isinstance(found, Guidance) and found.state_dict() == {}
    found.load_state_dict({})
    (loss,) = found.losses([renders])
    found.after_step()
    assert loss.shape == () and torch.isfinite(loss)
