"""`dreamdist3d-gltf-exporter`: a GLB through dreamdist3d's own mesh code, without an nvdiffrast context."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import threestudio
import torch
from threestudio.models.exporters.base import Exporter, ExporterOutput
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.mesh import MeshSettings, extract_mesh, write_glb

from .errors import one_line_errors

_PROBES = 64**3
_EMPTY = 1e-5


@threestudio.register("dreamdist3d-gltf-exporter")
class GltfExporter(Exporter):
    """The surface of a density field, coloured by the material's albedo."""

    @dataclass
    class Config(Exporter.Config):
        """The keys of `MeshSettings`; the threshold is the geometry's own `isosurface_threshold`."""

        save_name: str = "model"
        resolution: int = 256
        smooth_voxels: float = 0.6
        floater_fraction: float = 0.03
        taubin_iterations: int = 10
        max_triangles: int = 100_000

    def configure(self, *args: Any, **kwargs: Any) -> None:
        """Refuse geometries that are no density fields."""
        super().configure(*args, **kwargs)
        with one_line_errors():
            if not hasattr(self.geometry, "forward_density"):
                raise UserError(
                    f"{type(self.geometry).__name__} is no density field: "
                    "export it with system.exporter_type=mesh-exporter."
                )

    @torch.no_grad()
    def __call__(self) -> list[ExporterOutput]:
        """One GLB file."""
        with one_line_errors():
            settings = MeshSettings(
                resolution=self.cfg.resolution,
                threshold=self._threshold(),
                smooth_voxels=self.cfg.smooth_voxels,
                floater_fraction=self.cfg.floater_fraction,
                taubin_iterations=self.cfg.taubin_iterations,
                max_triangles=self.cfg.max_triangles,
            )
            mesh = extract_mesh(self._density, self._look, self._radius, settings, device=self._device)
            self._scratch = tempfile.TemporaryDirectory()  # until threestudio has copied the file
            path = Path(self._scratch.name) / f"{self.cfg.save_name}.glb"
            write_glb(mesh, path)
        return [ExporterOutput(save_name=path.name, save_type="file", params={"src_path": str(path)})]

    @property
    def _radius(self) -> float:
        return float(self.geometry.cfg.radius)

    @property
    def _device(self) -> torch.device:
        return self.geometry.bbox.device

    def _density(self, points: Tensor) -> Tensor:
        """[N, 3] -> [N]."""
        return self.geometry.forward_density(points)[..., 0].float()

    def _look(self, points: Tensor) -> Tensor:
        """[N, 3] -> [N, 4]: density, and sRGB as rendered."""
        exported = self.material.export(points=points, **self.geometry.export(points))
        if "albedo" not in exported:
            raise UserError(f"{type(self.material).__name__} has no albedo to export: use another material_type.")
        return torch.cat([self._density(points)[:, None], exported["albedo"].float().clamp(0, 1)], dim=1)

    def _threshold(self) -> float:
        """The configured one; `auto` is the mean of what is not empty, as threestudio has it."""
        threshold = self.geometry.cfg.isosurface_threshold
        if threshold != "auto":
            return float(threshold)
        generator = torch.Generator().manual_seed(0)
        points = (torch.rand(_PROBES, 3, generator=generator) * 2 - 1) * self._radius
        density = self._density(points.to(self._device))
        return float(density[density > _EMPTY].mean())
