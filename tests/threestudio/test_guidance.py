"""Our guidance under threestudio's calls."""

from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from dreamdist3d.backbones import load_backbone
from dreamdist3d.guidance import MultiviewGuidance
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.cameras import CameraRanges, sample_cameras
from tests.prompts.tiny import LENGTH, WIDTH

NAME = "dreamdist3d-multiview-guidance"


@pytest.fixture
def text() -> torch.Tensor:
    """A condition and a negative prompt, [2, L, D]."""
    return torch.randn(2, LENGTH, WIDTH, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def batch(text: torch.Tensor) -> dict:
    """What a system hands to a guidance: two objects of four views."""
    cameras = sample_cameras(CameraRanges(), 2, torch.Generator().manual_seed(0))
    prompts = SimpleNamespace(
        get_text_embeddings=lambda elevation, *_: text.repeat_interleave(len(elevation), dim=0),
    )
    return {
        "rgb": torch.rand(8, 12, 12, 3, generator=torch.Generator().manual_seed(1)),
        "prompt_utils": prompts,
        "c2w": cameras.c2w,
        "fovy": torch.deg2rad(cameras.fov_deg),
        "elevation": cameras.elevation_deg,
        "azimuth": cameras.azimuth_deg,
        "camera_distances": cameras.distance,
        "rays_o": None,  # it is handed the whole batch
    }


@pytest.mark.parametrize(("recon_loss", "kind"), [(True, "x0"), (False, "sds")])
def test_the_loss_is_the_librarys_own(
    studio: ModuleType, tiny_backbone: Path, batch: dict, text: torch.Tensor, recon_loss: bool, kind: str
) -> None:
    guidance = studio.find(NAME)(
        {"pretrained_model_name_or_path": str(tiny_backbone), "recon_loss": recon_loss, "guidance_scale": 7.5}
    )
    batch["rgb"].requires_grad_()
    torch.manual_seed(3)
    out = guidance(**batch)
    (gradient,) = torch.autograd.grad(out["loss_sds"], batch["rgb"])
    config = GuidanceConfig(kind, 7.5, 0.5, (0.98, 0.98), (0.02, 0.02))
    plain = MultiviewGuidance(load_backbone(str(tiny_backbone)), *text, config)
    cameras = sample_cameras(CameraRanges(), 2, torch.Generator().manual_seed(0))
    pictures = batch["rgb"].permute(0, 3, 1, 2)
    expected = plain(pictures, cameras, 0.0, torch.Generator().manual_seed(3), torch.zeros(3))
    torch.testing.assert_close(out["loss_sds"], expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, batch["rgb"])[0])
    assert gradient.abs().sum() > 0


def test_autocast_of_the_trainer_does_not_reach_it(studio: ModuleType, tiny_backbone: Path, batch: dict) -> None:
    guidance = studio.find(NAME)({"pretrained_model_name_or_path": str(tiny_backbone)})
    torch.manual_seed(3)
    plain = guidance(**batch)["loss_sds"]
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        inside = guidance(**batch | {"rgb": batch["rgb"].double()})["loss_sds"]
    assert inside.dtype == torch.float32 and torch.equal(inside, plain)


def test_timesteps_follow_threestudios_schedules(studio: ModuleType, tiny_backbone: Path, batch: dict) -> None:
    schedule = {"min_step_percent": [0, 0.98, 0.02, 100], "max_step_percent": [0, 0.98, 0.5, 100]}
    guidance = studio.find(NAME)({"pretrained_model_name_or_path": str(tiny_backbone)} | schedule)
    ranges = []
    for step in (0, 50, 100, 200):
        guidance.update_step(0, step)
        out = guidance(**batch)
        ranges.append((out["min_step"], out["max_step"]))
    assert ranges == [(980, 980), (500, 740), (20, 500), (20, 500)]


def test_what_cannot_work_is_refused(studio: ModuleType, tiny_backbone: Path, batch: dict) -> None:
    kind = studio.find(NAME)
    with pytest.raises(SystemExit, match="n_view is 3, the model sees 4 views"):
        kind({"pretrained_model_name_or_path": str(tiny_backbone), "n_view": 3})
    with pytest.raises(SystemExit, match="neither one of"):
        kind({"pretrained_model_name_or_path": "nothing"})
    guidance = kind({"pretrained_model_name_or_path": str(tiny_backbone)})
    with pytest.raises(ValueError, match="rgb_as_latents"):
        guidance(**batch, rgb_as_latents=True)
