"""VSD: an untaught LoRA is the model itself; a taught one knows the renders, alone, in step, and after a stop."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from dreamdist3d.backbones import Backbone, add_noise, load_backbone, predicted_noise
from dreamdist3d.errors import UserError
from dreamdist3d.guidance import Condition, guidance_for
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.cameras import CameraRanges, camera_condition, sample_cameras
from dreamdist3d.lift.checkpoints import read_checkpoint
from dreamdist3d.lift.config import DataConfig, RendererConfig
from dreamdist3d.lift.renders import Guidance, Renders
from dreamdist3d.roads import Asset, RoadConfig, lift_assets
from dreamdist3d.roads.config import LiftChoice
from tests.lift.fakes import small_config
from tests.prompts.tiny import LENGTH, WIDTH

CONFIG = GuidanceConfig(kind="vsd", guidance_scale=3.0, lora_rank=2, lora_lr=0.05)


@pytest.fixture
def backbone(tiny_backbone) -> Iterator[Backbone]:
    yield load_backbone(str(tiny_backbone))


def condition(seed: int) -> Condition:
    generator = torch.Generator().manual_seed(seed)
    return Condition(*(torch.randn(LENGTH, WIDTH, generator=generator) for _ in range(2)))


def renders(seed: int) -> Renders:
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.rand(4, 3, 16, 16, generator=generator).requires_grad_()
    cameras = sample_cameras(CameraRanges(), 1, generator)
    return Renders(rgb, cameras, 0.5, torch.Generator().manual_seed(seed), torch.zeros(3))


def make(backbone: Backbone, seed: int = 0, config: GuidanceConfig = CONFIG) -> Guidance:
    return guidance_for(backbone, condition(seed), config, seed)


def gradient(guidance: Guidance, seed: int = 5) -> torch.Tensor:
    """Of the loss by the renders."""
    one = renders(seed)
    (loss,) = guidance.losses([one])
    loss.backward()
    return one.rgb.grad


def test_an_untaught_lora_is_the_model_itself(backbone) -> None:
    """The gradient by latents is w (eps_guided - eps_text): with guidance 1 there is none."""
    one = GuidanceConfig(kind="vsd", guidance_scale=1.0, lora_rank=2)
    assert gradient(make(backbone, config=one)).abs().max() < 1e-5
    assert gradient(make(backbone)).abs().max() > 1e-4


def test_the_lora_learns_the_renders_and_the_frozen_model_does_not(backbone) -> None:
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    one = renders(5)
    cameras = camera_condition(one.cameras.c2w)
    texts = condition(0).text.expand(4, -1, -1)
    before = backbone.predict(latents, torch.full((4,), 500), texts, cameras, 4)
    guidance = make(backbone)

    def error() -> float:
        """How well the LoRA tells the noise in the renders' latents."""
        with torch.no_grad():
            clean = backbone.encode_images(one.rgb * 2 - 1)
            noise, times = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)), torch.full((4,), 400)
            noisy = add_noise(backbone, clean, noise, times)
            with guidance._switched_on():
                output = guidance._asked(noisy, times, one)
            return float((predicted_noise(backbone, noisy, output, times) - noise).square().mean())

    first = error()
    for _ in range(25):
        guidance.losses([one])
        guidance.after_step()
    assert error() < 0.9 * first
    assert torch.equal(backbone.predict(latents, torch.full((4,), 500), texts, cameras, 4), before)


def test_in_step_equals_alone_and_each_learns_its_own(backbone) -> None:
    both = [make(backbone, 0), make(backbone, 1)]
    alone = [make(backbone, 0), make(backbone, 1)]
    for step in range(2):
        together = both[0].losses([renders(10 + step), renders(20 + step)], both[1:])
        singles = [one.losses([renders(seed + step)])[0] for one, seed in zip(alone, (10, 20), strict=True)]
        torch.testing.assert_close(together, singles, rtol=1e-4, atol=1e-5)
        for one in (*both, *alone):
            one.after_step()
    first, second = (one.state_dict()["lora"] for one in both)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_it_goes_on_from_its_state_and_says_whose_state_it_is(backbone) -> None:
    taught = make(backbone)
    for _ in range(2):
        gradient(taught)
        taught.after_step()
    again = make(backbone)
    again.load_state_dict(deepcopy(taught.state_dict()))  # as a checkpoint does
    for one in (taught, again):
        gradient(one, 7)
        one.after_step()
    torch.testing.assert_close(again.state_dict()["lora"], taught.state_dict()["lora"], rtol=0, atol=0)
    with pytest.raises(UserError, match="no LoRA"):
        again.load_state_dict({})


def test_a_lift_keeps_it_in_its_checkpoint(backbone, tmp_path) -> None:
    data = DataConfig((8,), (4,), (1.0,))
    lifted = small_config(max_steps=4, checkpoint_every=2, data=data, renderer=RendererConfig((8,)))
    config = RoadConfig(LiftChoice(), lifted, CONFIG)
    asset = Asset(condition(0), tmp_path, seed=3)
    (whole,) = lift_assets(config, backbone, [asset])
    last = tmp_path / "ckpts" / "last.ckpt"
    taught = read_checkpoint(last)["guidance"]
    assert taught["steps"] == 4 and any(".lora_B." in name and weight.any() for name, weight in taught["lora"].items())
    (again,) = lift_assets(config, backbone, [replace(asset, resume=last.with_name("previous.ckpt"))])
    torch.testing.assert_close(dict(again.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)


def test_a_forgotten_asset_takes_its_adapter_along(backbone) -> None:
    guidance = make(backbone)
    assert len(backbone.unet.peft_config) == 1
    del guidance
    assert not getattr(backbone.unet, "peft_config", {})
