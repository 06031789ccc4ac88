"""What a finished lift shows: stills, a turntable, silhouettes for the mesh."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dreamdist3d.files import write_atomic
from dreamdist3d.lift.cameras import Cameras, orbit
from dreamdist3d.lift.config import LiftConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.occupancy import occupancy_of
from dreamdist3d.lift.render import Rendering, render, render_opacity

STILL_NAMES = ("front", "left", "back", "right")
# At least; a lift at a higher resolution is shown at twice its own (stills) and at its own (turntable).
_STILL_SIZE, _TURNTABLE_SIZE, _SAMPLES = 160, 96, 64
_TURNTABLE_FRAMES, _SILHOUETTE_SIZE = 24, 64
_ELEVATION_DEG = 15.0


def save_views(field: Field, config: LiftConfig, folder: Path) -> None:
    """Write four stills (`front.png`, ...: azimuth 0, 90, 180, 270) and `turntable.webp` into `folder`."""
    lifted = config.data.resolution[-1]
    still_size, turntable_size = max(_STILL_SIZE, 2 * lifted), max(_TURNTABLE_SIZE, lifted)
    stills = _pictures(field, config, _ring(config, torch.arange(4) * 90.0), still_size)
    for name, picture in zip(STILL_NAMES, stills, strict=True):
        write_atomic(folder / f"{name}.png", Image.fromarray(picture).save)
    azimuths = torch.arange(_TURNTABLE_FRAMES) * (360.0 / _TURNTABLE_FRAMES)
    frames = [Image.fromarray(p) for p in _pictures(field, config, _ring(config, azimuths), turntable_size)]
    write_atomic(
        folder / "turntable.webp",
        lambda path: frames[0].save(path, save_all=True, append_images=frames[1:], duration=80, loop=0, quality=85),
    )


def render_silhouettes(field: Field, config: LiftConfig) -> tuple[Cameras, Tensor]:
    """Opacities of the field from eight directions and two heights: cameras (16), alpha [16, 64, 64]."""
    azimuths, elevations = torch.arange(8).repeat(2) * 45.0, torch.tensor([0.0, 30.0]).repeat_interleave(8)
    cameras = _ring(config, azimuths, elevations)
    with torch.no_grad(), field.cached():
        occupancy, samples = occupancy_of(field, config.renderer), _samples(config)
        return cameras, torch.cat(
            [
                render_opacity(field, view, _SILHOUETTE_SIZE, samples, occupancy).cpu()
                for view in _one_by_one(field, cameras)
            ]
        )


def _ring(config: LiftConfig, azimuths: Tensor, elevations: Tensor | None = None) -> Cameras:
    """Cameras around the object at the middle of the configured field of view and distance."""
    fov = torch.full_like(azimuths, sum(config.data.fovy_range_deg) / 2)
    tangent = torch.tan(torch.deg2rad(fov) / 2)
    distance = sum(config.data.camera_distance_range) / 2 / tangent
    if elevations is None:
        elevations = torch.full_like(azimuths, _ELEVATION_DEG)
    return orbit(azimuths, elevations, distance, fov)


@torch.no_grad()
def _renderings(field: Field, config: LiftConfig, cameras: Cameras, size: int) -> list[Rendering]:
    white = torch.ones(3, device=field.outer.weight.device)
    with field.cached():
        occupancy, samples = occupancy_of(field, config.renderer), _samples(config)
        return [render(field, view, size, samples, white, occupancy) for view in _one_by_one(field, cameras)]


def _samples(config: LiftConfig) -> int:
    return max(_SAMPLES, config.renderer.num_samples_per_ray[-1])


def _one_by_one(field: Field, cameras: Cameras) -> Iterator[Cameras]:
    """So that memory does not grow with their number; where the field is."""
    for number in range(len(cameras.c2w)):
        yield cameras.at([number]).to(field.outer.weight.device)


def _pictures(field: Field, config: LiftConfig, cameras: Cameras, size: int) -> list[np.ndarray]:
    return [
        (r.rgb[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        for r in _renderings(field, config, cameras, size)
    ]
