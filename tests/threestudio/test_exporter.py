"""From a density field of threestudio to a GLB."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh

from dreamdist3d.mesh import read_mesh

NAME = "dreamdist3d-gltf-exporter"
INSIDE = 0.6  # radius of the ball


class Ball:
    """The part of an implicit volume that is called: a ball with a thin soft rind, empty around it."""

    def __init__(self, threshold: float | str = 10.0) -> None:
        self.cfg = SimpleNamespace(radius=1.0, isosurface_threshold=threshold)
        self.bbox = torch.zeros(2, 3)

    def forward_density(self, points: torch.Tensor) -> torch.Tensor:
        return 20.0 * (0.5 + 8.0 * (INSIDE - points.norm(dim=-1, keepdim=True))).clamp(0, 1)

    def export(self, points: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"features": points}


class Painted:
    """Red in front (+x), black behind."""

    def export(self, points: torch.Tensor, features: torch.Tensor) -> dict[str, torch.Tensor]:
        assert torch.equal(points, features)
        return {"albedo": torch.stack([(points[:, 0] > 0).float()] + 2 * [torch.zeros(len(points))], dim=-1)}


def exported(studio: ModuleType, folder: Path, geometry: Ball, **cfg) -> trimesh.Trimesh:
    exporter = studio.find(NAME)({"resolution": 48} | cfg, geometry=geometry, material=Painted(), background=None)
    (out,) = exporter()
    assert out.save_type == "file" and out.save_name == "model.glb"
    copied = folder / out.save_name
    copied.write_bytes(Path(out.params["src_path"]).read_bytes())  # as threestudio's saver does
    return read_mesh(copied)


def test_a_ball_stays_a_ball_in_the_right_colours(studio: ModuleType, tmp_path: Path) -> None:
    mesh = exported(studio, tmp_path, Ball())
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * INSIDE**3, rel=0.1) and mesh.is_watertight
    depth, red = mesh.vertices[:, 2], mesh.visual.vertex_colors[:, 0]  # the front faces +z in glTF
    assert (red[depth > 0.1] > 200).all() and (red[depth < -0.1] < 50).all()
    assert not any(name.startswith("nvdiffrast") for name in sys.modules)


def test_an_automatic_threshold_is_the_mean_of_what_is_not_empty(studio: ModuleType, tmp_path: Path) -> None:
    axis = torch.linspace(-1, 1, 60)
    density = Ball().forward_density(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1))
    mean = float(density[density > 1e-5].mean())
    automatic, given = (exported(studio, tmp_path, Ball(threshold)) for threshold in ("auto", mean))
    assert automatic.volume == pytest.approx(given.volume, rel=0.02)
    assert given.volume != pytest.approx(exported(studio, tmp_path, Ball()).volume, rel=0.02)


def test_the_triangle_budget_is_kept(studio: ModuleType, tmp_path: Path) -> None:
    assert len(exported(studio, tmp_path, Ball(), max_triangles=200).faces) <= 200


def test_what_cannot_be_exported_is_refused(studio: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="mesh-exporter"):
        studio.find(NAME)({}, geometry=SimpleNamespace(), material=Painted(), background=None)
    with pytest.raises(SystemExit, match="asset is empty"):
        exported(studio, tmp_path, Ball(threshold=1e4), resolution=16)
    with pytest.raises(SystemExit, match="resolution"):
        exported(studio, tmp_path, Ball(), resolution=1)
    bare = SimpleNamespace(export=lambda points, features: {})
    exporter = studio.find(NAME)({"resolution": 16}, geometry=Ball(), material=bare, background=None)
    with pytest.raises(SystemExit, match="no albedo"):
        exporter()
