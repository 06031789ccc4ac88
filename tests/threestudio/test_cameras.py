"""The cameras of a training step."""

import math
from types import ModuleType

import pytest
import torch

NAME = "dreamdist3d-multiview-datamodule"
RANGES = {"elevation_range": [0, 30], "fovy_range": [15, 60], "camera_distance_range": [0.8, 1.0]}


def sample(studio: ModuleType, **cfg) -> dict:
    module = studio.find(NAME)({"batch_size": 8, "height": 6, "width": 10} | RANGES | cfg)
    module.setup("fit")
    torch.manual_seed(4)
    return module.train_dataset.collate([])


def test_an_objects_views_lie_side_by_side(studio: ModuleType) -> None:
    batch = sample(studio)
    steps = batch["azimuth"].view(2, 4).diff(dim=1) % 360
    torch.testing.assert_close(steps, torch.full((2, 3), 90.0))
    for key in ("elevation", "fovy", "camera_distances"):
        values = batch[key].view(2, 4)
        assert (values == values[:, :1]).all() and values[0, 0] != values[1, 0]


def test_the_batch_holds_what_renderers_and_guidances_read(studio: ModuleType) -> None:
    batch = sample(studio)
    assert batch["rays_o"].shape == batch["rays_d"].shape == (8, 6, 10, 3)
    torch.testing.assert_close(batch["rays_d"].norm(dim=-1), torch.ones(8, 6, 10))
    torch.testing.assert_close(batch["rays_o"][:, 0, 0], batch["camera_positions"])
    torch.testing.assert_close(batch["camera_positions"].norm(dim=-1), batch["camera_distances"])
    assert batch["c2w"].shape == batch["mvp_mtx"].shape == (8, 4, 4) and (batch["height"], batch["width"]) == (6, 10)
    # In units of 1 / tan(fov / 2), and the field of view in radians.
    relative = batch["camera_distances"] * torch.tan(batch["fovy"] / 2)
    assert (relative >= 0.8).all() and (relative <= 1.0).all()
    assert (batch["fovy"] >= math.radians(15)).all() and (batch["fovy"] <= math.radians(60)).all()


@pytest.mark.parametrize("size", [6, 2, [8, 6]])
def test_a_batch_of_incomplete_objects_is_refused(studio: ModuleType, size) -> None:
    with pytest.raises(SystemExit, match="multiples of data.n_view=4"):
        studio.find(NAME)({"batch_size": size})
