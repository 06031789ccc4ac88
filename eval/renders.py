"""Pictures of any mesh from the same four sides, framed and lit alike."""

from collections.abc import Sequence

import numpy as np
import torch
import trimesh

from dreamdist3d.choices import Renderer
from dreamdist3d.lift.cameras import orbit
from dreamdist3d.mesh.axes import to_world
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.render import framed, render

AZIMUTHS_DEG = (0.0, 90.0, 180.0, 270.0)
VIEW_NAMES = ("front", "left", "back", "right")
ELEVATION_DEG = 15.0
FOV_DEG = 40.0
DISTANCE = 1.55
SUPERSAMPLE = 2

_RADIUS = 0.5


def render_views(
    mesh: trimesh.Trimesh | Sequence[Painted], size: int = 128, renderer: Renderer = "embree"
) -> np.ndarray:
    """A mesh in glTF axes (+Y up, front +Z) from its front, left, back and right, on white.

    The mesh is centred on its bounding box and scaled to a bounding sphere of radius 0.5, so that
    neither the size nor the place of an asset tells it from another. Vertex colours (sRGB) are
    interpolated inside the triangles, textures are read at every pixel.

    Returns:
        uint8 [4, size, size, 3], in the order of `VIEW_NAMES`.

    Raises:
        ValueError: all vertices lie in one point.
        UserError: the renderer is not installed.
    """
    views = len(AZIMUTHS_DEG)
    cameras = orbit(
        torch.tensor(AZIMUTHS_DEG, dtype=torch.float64),
        torch.full((views,), ELEVATION_DEG, dtype=torch.float64),
        torch.full((views,), DISTANCE, dtype=torch.float64),
        torch.full((views,), FOV_DEG, dtype=torch.float64),
    )
    parts = [Painted.of(mesh)] if isinstance(mesh, trimesh.Trimesh) else mesh
    placed = framed([part.moved(to_world(part.vertices)) for part in parts], _RADIUS)
    return render(placed, cameras, size, supersample=SUPERSAMPLE, renderer=renderer).rgb
