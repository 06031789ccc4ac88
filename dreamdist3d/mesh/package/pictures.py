"""What an asset looks like: a preview and a turntable."""

import io

import torch
from PIL import Image

from dreamdist3d.choices import Renderer
from dreamdist3d.lift.cameras import orbit
from dreamdist3d.mesh.axes import to_world
from dreamdist3d.mesh.package.parts import Package
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.render import framed, render, studio

_PREVIEW_SIZE, _TURNTABLE_SIZE, _FRAMES, _FRAME_MS = 512, 192, 24, 80
_AZIMUTH_DEG, _ELEVATION_DEG, _FOV_DEG = 30.0, 15.0, 30.0
# The sphere around the asset touches the picture's border at 0.5 / sin(15 degrees).
_RADIUS, _DISTANCE = 0.5, 2.0
_SUPERSAMPLE = 2


def preview(package: Package, renderer: Renderer) -> bytes:
    """LOD0 as PNG, from the front and a little to the side."""
    buffer = io.BytesIO()
    _pictures(package, [_AZIMUTH_DEG], _PREVIEW_SIZE, renderer)[0].save(buffer, format="PNG")
    return buffer.getvalue()


def turntable(package: Package, renderer: Renderer) -> bytes:
    """LOD0 all around, as an animated WebP file."""
    azimuths = [_AZIMUTH_DEG + 360.0 * frame / _FRAMES for frame in range(_FRAMES)]
    first, *rest = _pictures(package, azimuths, _TURNTABLE_SIZE, renderer)
    buffer = io.BytesIO()
    first.save(buffer, format="WEBP", save_all=True, append_images=rest, duration=_FRAME_MS, loop=0, quality=85)
    return buffer.getvalue()


def _pictures(package: Package, azimuths: list[float], size: int, renderer: Renderer) -> list[Image.Image]:
    level = package.levels[0]
    assert level.normals is not None  # only hulls have none
    painted = [
        Painted(
            to_world(level.vertices),
            faces,
            uv=level.uv,
            texture=package.maps.albedo,
            normals=to_world(level.normals),
            material=package.materials[kind],
        )
        for kind, faces in level.faces_by_material()
    ]
    rows = [[azimuth, _ELEVATION_DEG, _DISTANCE, _FOV_DEG] for azimuth in azimuths]
    cameras = orbit(*torch.tensor(rows, dtype=torch.float64).T)
    parts = framed(painted, _RADIUS)
    seen = render(parts, cameras, size, light=studio, supersample=_SUPERSAMPLE, renderer=renderer)
    return [Image.fromarray(picture) for picture in seen.rgb]
