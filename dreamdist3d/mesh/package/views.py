"""Stills and a turntable of a mesh, as a lift leaves them of its field."""

from pathlib import Path

import torch
import trimesh
from PIL import Image

from dreamdist3d.files import write_atomic
from dreamdist3d.lift.cameras import orbit
from dreamdist3d.lift.outputs import STILL_NAMES
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.render import framed, render

_STILL_SIZE, _TURNTABLE_SIZE, _FRAMES, _FRAME_MS = 512, 192, 24, 80
_ELEVATION_DEG, _FOV_DEG, _RADIUS, _DISTANCE = 15.0, 40.0, 0.5, 1.55
_SUPERSAMPLE = 2


def save_mesh_views(mesh: trimesh.Trimesh, folder: Path) -> None:
    """Write `front.png`, `left.png`, `back.png`, `right.png` and `turntable.webp` of a mesh in world axes.

    Raises:
        UserError: the folder cannot be written.
    """
    for name, picture in zip(STILL_NAMES, _around(mesh, len(STILL_NAMES), _STILL_SIZE), strict=True):
        write_atomic(folder / f"{name}.png", picture.save)
    first, *rest = _around(mesh, _FRAMES, _TURNTABLE_SIZE)
    write_atomic(
        folder / "turntable.webp",
        lambda path: first.save(path, save_all=True, append_images=rest, duration=_FRAME_MS, loop=0, quality=85),
    )


def _around(mesh: trimesh.Trimesh, count: int, size: int) -> list[Image.Image]:
    azimuths = torch.arange(count, dtype=torch.float64) * (360.0 / count)
    elevation, distance, fov = (torch.full_like(azimuths, x) for x in (_ELEVATION_DEG, _DISTANCE, _FOV_DEG))
    cameras = orbit(azimuths, elevation, distance, fov)
    seen = render(framed([Painted.of(mesh)], _RADIUS), cameras, size, supersample=_SUPERSAMPLE)
    return [Image.fromarray(picture) for picture in seen.rgb]
