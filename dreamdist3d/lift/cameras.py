"""Cameras around an object: poses, the 16-number condition of MVDream, rays.

World: right-handed, z up, the object's front faces +x (threestudio's convention). Camera-to-world
matrices are 4x4 with x right, y up, z back (Blender / OpenGL).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class CameraRanges:
    """What `sample_cameras` draws from (MVDream's training distribution by default).

    `distance` is in units of 1 / tan(fov / 2), so that the object keeps its size in the picture.
    """

    elevation_deg: tuple[float, float] = (0.0, 30.0)
    fov_deg: tuple[float, float] = (15.0, 60.0)
    distance: tuple[float, float] = (0.8, 1.0)
    n_views: int = 4


@dataclass(frozen=True)
class Cameras:
    """A batch of B perspective cameras."""

    c2w: Tensor  # [B, 4, 4]
    fov_deg: Tensor  # [B], vertical
    azimuth_deg: Tensor  # [B]
    elevation_deg: Tensor  # [B]
    distance: Tensor  # [B]

    def to(self, device: torch.device | str) -> "Cameras":
        """The same cameras on another device."""
        return Cameras(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def at(self, index: Sequence[int]) -> "Cameras":
        """Some of the cameras, in the order of `index`."""
        rows = torch.as_tensor(index)
        return Cameras(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def orbit(
    azimuth_deg: Tensor,  # [B]
    elevation_deg: Tensor,  # [B]
    distance: Tensor,  # [B]
    fov_deg: Tensor,  # [B]
) -> Cameras:
    """Cameras on a sphere that look at the origin; azimuth 0 looks at the front (+x), 90 sits on +y."""
    azimuth, elevation = torch.deg2rad(azimuth_deg), torch.deg2rad(elevation_deg)
    back = torch.stack(
        [elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], dim=-1
    )  # [B, 3]
    # Taken from the azimuth rather than from a cross product with +z, so that a camera straight
    # above the object is well defined.
    right = torch.stack([-azimuth.sin(), azimuth.cos(), torch.zeros_like(azimuth)], dim=-1)
    up = torch.cross(back, right, dim=-1)
    c2w = torch.eye(4, dtype=back.dtype, device=back.device).repeat(len(back), 1, 1)
    c2w[:, :3, :3] = torch.stack([right, up, back], dim=-1)
    c2w[:, :3, 3] = back * distance[:, None]
    return Cameras(c2w, fov_deg, azimuth_deg, elevation_deg, distance)


def sample_cameras(ranges: CameraRanges, n_objects: int, generator: torch.Generator) -> Cameras:
    """For each object, `n_views` azimuths evenly spaced from a random offset; one elevation, fov and distance.

    Returns B = n_objects * n_views cameras, an object's views side by side (MVDream, section 3.1).
    """

    def per_object(low: float, high: float) -> Tensor:
        values = torch.rand(n_objects, generator=generator) * (high - low) + low
        return values.repeat_interleave(ranges.n_views)

    steps = torch.arange(ranges.n_views) * (360.0 / ranges.n_views)
    azimuth = (per_object(0.0, 360.0) + steps.repeat(n_objects)) % 360.0
    fov = per_object(*ranges.fov_deg)
    distance = per_object(*ranges.distance) / torch.tan(torch.deg2rad(fov) / 2)
    return orbit(azimuth, per_object(*ranges.elevation_deg), distance, fov)


def camera_condition(c2w: Tensor) -> Tensor:
    """[B, 4, 4] poses -> [B, 16]: translation scaled to unit length, flattened row by row (MVDream)."""
    unit = c2w.clone()
    unit[:, :3, 3] = F.normalize(c2w[:, :3, 3], dim=-1)
    return unit.flatten(1)


def rays(cameras: Cameras, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Pixel-centre rays: origins and unit directions, each [B, height, width, 3]."""
    device, dtype = cameras.c2w.device, cameras.c2w.dtype
    y = 1.0 - (torch.arange(height, device=device, dtype=dtype) + 0.5) * 2.0 / height
    x = (torch.arange(width, device=device, dtype=dtype) + 0.5) * 2.0 / width - 1.0
    tangent = torch.tan(torch.deg2rad(cameras.fov_deg) / 2)  # [B]
    local = torch.stack(
        [
            (x * (width / height)).expand(height, width),
            y[:, None].expand(height, width),
            torch.zeros(height, width, device=device, dtype=dtype),
        ],
        dim=-1,
    )
    local = local * tangent[:, None, None, None]
    local[..., 2] = -1.0
    directions = torch.einsum("bij,bhwj->bhwi", cameras.c2w[:, :3, :3], local)
    origins = cameras.c2w[:, None, None, :3, 3].expand_as(directions)
    return origins, F.normalize(directions, dim=-1)
