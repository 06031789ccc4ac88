"""Several assets judged in one pass are judged as each would be alone."""

from dataclasses import replace

import pytest
import torch

from dreamdist3d.guidance import MultiviewGuidance, guide_together
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.cameras import CameraRanges, sample_cameras
from dreamdist3d.lift.renders import Renders
from tests.guidance.fakes import LENGTH, WIDTH, linear_backbone

KINDS = [
    {"kind": "sds"},
    {"kind": "x0"},
    {"kind": "x0", "clamp_x0": True, "background_tolerance": 0.1},
]


def asset(number: int, progress: float = 0.4, views: int = 4) -> tuple[torch.Tensor, torch.Tensor, Renders]:
    """Text, negative text and renders of one asset; no two alike."""
    generator = torch.Generator().manual_seed(number)
    text, negative = (torch.randn(LENGTH, WIDTH, generator=generator) for _ in range(2))
    rgb = torch.rand(views, 3, 8, 8, generator=generator).requires_grad_()
    cameras = sample_cameras(CameraRanges(), views // 4, generator)
    background = torch.rand(3, generator=generator)
    return text, negative, Renders(rgb, cameras, progress, torch.Generator().manual_seed(100 + number), background)


def judged(numbers, config, views=(4, 4, 8)):
    """Losses and gradients of the assets, guided together."""
    backbone = linear_backbone()
    parts = [asset(number, views=views[number]) for number in numbers]
    guidances = [MultiviewGuidance(backbone, text, negative, config) for text, negative, _ in parts]
    renders = [one for _, _, one in parts]
    losses = guide_together(guidances, renders)
    sum(losses).backward()
    return losses, [one.rgb.grad for one in renders], backbone.unet.seen


@pytest.mark.parametrize("settings", KINDS)
def test_losses_and_gradients_are_those_of_each_alone(settings):
    config = GuidanceConfig(guidance_scale=7.5, recon_std_rescale=0.6, **settings)
    losses, gradients, seen = judged([0, 1, 2], config)
    assert len(seen) == 1  # one call of the network
    for number in range(3):
        (loss,), (gradient,), _ = judged([number], config)
        torch.testing.assert_close(losses[number], loss, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradients[number], gradient, rtol=1e-5, atol=1e-5)


def test_order_does_not_matter():
    config = GuidanceConfig()
    losses, _, _ = judged([0, 1], config)
    swapped, _, _ = judged([1, 0], config)
    torch.testing.assert_close(losses, swapped[::-1], rtol=1e-5, atol=1e-5)


def test_what_cannot_share_a_pass_is_refused():
    backbone = linear_backbone()
    (text, negative, one), (_, _, other) = asset(0), asset(1, progress=0.5)
    guidance = MultiviewGuidance(backbone, text, negative, GuidanceConfig())
    with pytest.raises(ValueError, match="equally far"):
        guide_together([guidance, guidance], [one, other])
    stronger = MultiviewGuidance(backbone, text, negative, GuidanceConfig(guidance_scale=9.0))
    with pytest.raises(ValueError, match="share"):
        guide_together([guidance, stronger], [one, replace(other, progress=one.progress)])
