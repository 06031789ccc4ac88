"""An asset from all around, for people."""

import numpy as np
import torch
import trimesh

from dreamdist3d.eval.renders import DISTANCE, ELEVATION_DEG, FOV_DEG
from dreamdist3d.lift.cameras import orbit
from dreamdist3d.mesh.axes import to_world
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.render import framed, render

FRAMES = 12
SIZE = 144
_RADIUS = 0.5


def turntable(mesh: trimesh.Trimesh, frames: int = FRAMES, size: int = SIZE) -> np.ndarray:
    """uint8 [frames, size, size, 3]: the front first, then counterclockwise in equal steps, on white.

    Raises:
        ValueError: all vertices lie in one point.
    """
    around = torch.arange(frames, dtype=torch.float64) * (360.0 / frames)
    elevation, distance, fov = (torch.full_like(around, value) for value in (ELEVATION_DEG, DISTANCE, FOV_DEG))
    part = Painted.of(mesh)
    placed = framed([part.moved(to_world(part.vertices))], _RADIUS)
    return render(placed, orbit(around, elevation, distance, fov), size, supersample=2).rgb
