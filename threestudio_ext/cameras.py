"""`dreamdist3d-multiview-datamodule`: several views of one object at one elevation, as multi-view models want them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import threestudio
import torch
from threestudio.data.uncond import RandomCameraDataModule, RandomCameraDataModuleConfig, RandomCameraIterableDataset
from threestudio.utils.config import parse_structured
from threestudio.utils.ops import get_mvp_matrix, get_projection_matrix

from dreamdist3d.errors import UserError
from dreamdist3d.lift.cameras import CameraRanges, rays, sample_cameras

from .errors import one_line_errors


@dataclass
class MultiviewConfig(RandomCameraDataModuleConfig):
    """threestudio's keys. Distances are in units of 1 / tan(fov / 2); cameras are not perturbed."""

    n_view: int = 4


class MultiviewDataset(RandomCameraIterableDataset):
    """Batches of `batch_size` cameras, an object's `n_view` side by side."""

    def collate(self, batch: Sequence[Any]) -> dict[str, Any]:
        """Sample the cameras of a step (`dreamdist3d.lift.cameras`)."""
        ranges = CameraRanges(self.elevation_range, self.fovy_range, self.camera_distance_range, self.cfg.n_view)
        cameras = sample_cameras(ranges, self.batch_size // self.cfg.n_view, torch.default_generator)
        origins, directions = rays(cameras, self.height, self.width)
        fovy = torch.deg2rad(cameras.fov_deg)
        projection = get_projection_matrix(fovy, self.width / self.height, 0.01, 100.0)
        positions = cameras.c2w[:, :3, 3]
        return {
            "rays_o": origins,
            "rays_d": directions,
            "mvp_mtx": get_mvp_matrix(cameras.c2w, projection),
            "proj_mtx": projection,
            "camera_positions": positions,
            "light_positions": positions,
            "c2w": cameras.c2w,
            "elevation": cameras.elevation_deg,
            "azimuth": cameras.azimuth_deg,
            "camera_distances": cameras.distance,
            "fovy": fovy,
            "height": self.height,
            "width": self.width,
        }


@threestudio.register("dreamdist3d-multiview-datamodule")
class MultiviewDataModule(RandomCameraDataModule):
    """threestudio's random cameras, but those for training."""

    def __init__(self, cfg: Any = None) -> None:
        # Past the base class's own, which would refuse our key.
        super(RandomCameraDataModule, self).__init__()
        self.cfg = parse_structured(MultiviewConfig, cfg)
        with one_line_errors():
            _check_batches(self.cfg)

    def setup(self, stage: str | None = None) -> None:
        """As the base class, with our training set."""
        super().setup(stage)
        if stage in (None, "fit"):
            self.train_dataset = MultiviewDataset(self.cfg)


def _check_batches(cfg: Any) -> None:
    sizes = [cfg.batch_size] if isinstance(cfg.batch_size, int) else list(cfg.batch_size)
    if any(size < cfg.n_view or size % cfg.n_view for size in sizes):
        raise UserError(f"data.batch_size must be multiples of data.n_view={cfg.n_view}, not {sizes}.")
