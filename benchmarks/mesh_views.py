"""How much of a field its game asset keeps: both rendered from eight sides, as PSNR and as a picture.

    python benchmarks/mesh_views.py outputs/mini/RUN ... --out views.png

Per run four rows: the field, the textured mesh from the GLB file itself (LOD0, unlit, so that its texture is
compared and no lamp), the last level with the same texture, and the difference of the first two, four times
enlarged. PSNR is over whole pictures on white, and over the pixels that both cover fully. Prints one JSON line a run.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

from dreamdist3d.config import load_config
from dreamdist3d.lift import load_field
from dreamdist3d.lift.cameras import Cameras, orbit
from dreamdist3d.lift.config import LiftConfig
from dreamdist3d.lift.field import Field
from dreamdist3d.lift.occupancy import occupancy_of
from dreamdist3d.lift.render import render as render_field
from dreamdist3d.mesh.axes import placement, to_world
from dreamdist3d.mesh.package import PackageSettings, export_asset
from dreamdist3d.mesh.painted import Painted
from dreamdist3d.mesh.read import read_painted
from dreamdist3d.mesh.render import Pictures, render
from dreamdist3d.mesh.simplify import simplify
from dreamdist3d.mesh.texture import TextureSettings
from dreamdist3d.runs.source import run_source
from dreamdist3d.runs.trial import Trial

VIEWS, SIZE, SUPERSAMPLE, SAMPLES = 8, 160, 3, 192


def main(
    runs: tyro.conf.Positional[tuple[Path, ...]], out: Path, triangles: int = 20_000, texture_size: int = 1024
) -> None:
    """Compare finished runs with the packages made of them."""
    rows = []
    for run in runs:
        field, mesh, lowest = views_of(run, triangles, texture_size)
        difference = np.abs(field.rgb.astype(int) - mesh.rgb).clip(0, 63) * 4
        rows += [field.rgb, mesh.rgb, lowest.rgb, 255 - difference.astype(np.uint8)]
        print(json.dumps({"run": run.name, **scores(field, mesh)}), flush=True)
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    Image.fromarray(sheet).save(out)


def views_of(run: Path, triangles: int, texture_size: int) -> tuple[Pictures, Pictures, Pictures]:
    """The field, LOD0 and the last level."""
    trial = Trial(run)
    config = load_config(str(trial.parsed_config)).lift()
    field = load_field(trial.last_checkpoint, config, "cpu")
    source = run_source(run)
    settings = PackageSettings("web", triangles=triangles, hulls=0, texture=TextureSettings(size=texture_size))
    place = placement(simplify(source.surface, triangles).vertices)
    cameras = ring(config)
    with tempfile.TemporaryDirectory() as folder:
        asset = export_asset(source, Path(folder), settings)
        files = [asset.folder / f"{level['name']}.glb" for level in asset.record["levels"]]
        meshes = [
            [part.moved(to_world(part.vertices + place.base)) for part in read_painted(file)]
            for file in (files[0], files[-1])
        ]
    return field_views(field, config, cameras), *(mesh_views(mesh, cameras) for mesh in meshes)


def ring(config: LiftConfig) -> Cameras:
    """Eight cameras all around, at the middle of the lift's own distances and fields of view."""
    fov = sum(config.data.fovy_range_deg) / 2
    distance = sum(config.data.camera_distance_range) / 2 / np.tan(np.radians(fov) / 2)
    rows = [[360.0 / VIEWS * view, 15.0, distance, fov] for view in range(VIEWS)]
    return orbit(*torch.tensor(rows, dtype=torch.float64).T)


@torch.no_grad()
def field_views(field: Field, config: LiftConfig, cameras: Cameras) -> Pictures:
    single = Cameras(*(getattr(cameras, name).float() for name in cameras.__dataclass_fields__))
    with field.cached():
        occupancy = occupancy_of(field, config.renderer)
        seen = [render_field(field, single.at([i]), SIZE, SAMPLES, torch.ones(3), occupancy) for i in range(VIEWS)]
    rgb = torch.cat([one.rgb for one in seen]).clamp(0, 1).movedim(1, -1).numpy()
    return Pictures(np.round(255 * rgb).astype(np.uint8), torch.cat([one.opacity for one in seen]).numpy())


def mesh_views(mesh: list[Painted], cameras: Cameras) -> Pictures:
    return render(mesh, cameras, SIZE, light=lambda seen: np.ones((len(seen.points), 1)), supersample=SUPERSAMPLE)


def scores(field: Pictures, mesh: Pictures) -> dict[str, float]:
    inside = (field.alpha > 0.99) & (mesh.alpha == 1.0)
    cover = (field.alpha > 0.5) & (mesh.alpha > 0.5), (field.alpha > 0.5) | (mesh.alpha > 0.5)
    squared = ((field.rgb / 255.0 - mesh.rgb / 255.0) ** 2).mean(axis=-1)
    views = [psnr(view) for view in squared]
    return {
        "psnr_db": round(psnr(squared), 2),
        "worst_view_db": round(min(views), 2),
        "inside_db": round(psnr(squared[inside]), 2),
        "silhouette_iou": round(cover[0].sum() / cover[1].sum(), 4),
    }


def psnr(squared: np.ndarray) -> float:
    return float(-10 * np.log10(squared.mean()))


if __name__ == "__main__":
    tyro.cli(main)
