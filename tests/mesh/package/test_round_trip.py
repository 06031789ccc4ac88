"""From a field through a package's GLB file back to pictures, against pictures of the exact shape."""

from pathlib import Path

import numpy as np
import torch

from dreamdist3d.lift.cameras import orbit, rays
from dreamdist3d.mesh import MeshSettings
from dreamdist3d.mesh.axes import to_world
from dreamdist3d.mesh.extract import extract_surface
from dreamdist3d.mesh.package import AssetSource, PackageSettings, export_asset
from dreamdist3d.mesh.read import read_painted
from dreamdist3d.mesh.render import render
from dreamdist3d.mesh.texture import TextureSettings, field_colors
from tests.mesh import fields

RADIUS, SIZE = 0.6, 96


def checkered(points: torch.Tensor) -> torch.Tensor:
    """Eight colours that meet in the planes of the axes, softly enough for a texel."""
    return 0.5 + 0.4 * torch.tanh(20.0 * points)


def test_eight_views_of_a_checkered_ball_come_back(tmp_path: Path):
    surface = extract_surface(fields.sphere, 1.0, MeshSettings(resolution=64))
    colors = field_colors(fields.look(fields.sphere, checkered), 2.0 / 64)
    maps = TextureSettings(size=256, normal_map=False, occlusion=False)
    settings = PackageSettings("web", triangles=4000, lods=2, hulls=0, texture=maps)
    asset = export_asset(AssetSource("ball", surface, colors), tmp_path, settings)
    rows = [[45.0 * view + 10.0, 20.0, 2.5, 40.0] for view in range(8)]
    cameras = orbit(*torch.tensor(rows, dtype=torch.float64).T)

    origins, directions = (x.reshape(-1, 3).numpy() for x in rays(cameras, SIZE, SIZE))
    along = -np.einsum("ni,ni->n", origins, directions)
    inner = RADIUS**2 - np.einsum("ni,ni->n", origins, origins) + along**2
    hit = inner > 0
    exact = np.ones((len(origins), 3))
    points = origins[hit] + directions[hit] * (along[hit] - np.sqrt(inner[hit]))[:, None]
    exact[hit] = checkered(torch.from_numpy(points)).numpy()

    height = asset.record["height_m"]
    for name in ("ball.glb", "ball_LOD1.glb"):
        parts = [part.moved(to_world(part.vertices - [0.0, height / 2, 0.0])) for part in read_painted(tmp_path / name)]
        seen = render(parts, cameras, SIZE, light=lambda seen: np.ones((len(seen.points), 1)))
        squared = (seen.rgb.reshape(-1, 3) / 255.0 - exact) ** 2
        both = hit & (seen.alpha.ravel() > 0)
        assert -10 * np.log10(squared.mean()) > 25 and -10 * np.log10(squared[both].mean()) > 30
        assert both.sum() / (hit | (seen.alpha.ravel() > 0)).sum() > 0.98
