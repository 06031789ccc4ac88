"""Where cameras sit, what the network is told of them, and the rays of their pixels."""

import math

import pytest
import torch
import torch.nn.functional as F

from dreamdist3d.lift.cameras import CameraRanges, camera_condition, orbit, rays, sample_cameras


def camera(azimuth, elevation, distance=2.0, fov=40.0):
    return orbit(*(torch.tensor([float(value)], dtype=torch.float64) for value in (azimuth, elevation, distance, fov)))


@pytest.fixture
def many():
    return sample_cameras(CameraRanges(elevation_deg=(-80.0, 85.0)), 50, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "azimuth,elevation,place",
    [(0, 0, (2, 0, 0)), (90, 0, (0, 2, 0)), (180, 0, (-2, 0, 0)), (270, 0, (0, -2, 0)), (123, 90, (0, 0, 2))],
)
def test_places(azimuth, elevation, place):
    c2w = camera(azimuth, elevation).c2w[0]
    torch.testing.assert_close(c2w[:3, 3], torch.tensor(place, dtype=torch.float64), atol=1e-12, rtol=0)
    assert c2w[3].tolist() == [0, 0, 0, 1]


def test_the_front_camera_sees_plus_y_on_its_right_and_plus_z_up():
    right, up, back = camera(0, 0).c2w[0, :3, :3].unbind(dim=1)
    assert (right.tolist(), up.tolist(), back.tolist()) == ([0, 1, 0], [0, 0, 1], [1, 0, 0])


def test_poses_are_rotations_that_look_at_the_origin_and_stand_upright(many):
    rotation, place = many.c2w[:, :3, :3].double(), many.c2w[:, :3, 3].double()
    eye = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, eye, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        torch.linalg.det(rotation), torch.ones(len(place), dtype=torch.float64), atol=1e-5, rtol=0
    )
    looking = -rotation[:, :, 2]
    torch.testing.assert_close(looking, -F.normalize(place, dim=1), atol=1e-5, rtol=0)
    assert (rotation[:, 2, 1] > 0).all() and rotation[:, 2, 0].abs().max() < 1e-6  # up is up, right is level
    torch.testing.assert_close(place.norm(dim=1), many.distance.double(), rtol=1e-5, atol=0)


def test_straight_above_is_defined_and_continuous():
    above, nearly = camera(30, 90).c2w, camera(30, 89.999).c2w
    assert above.isfinite().all()
    torch.testing.assert_close(above, nearly, atol=1e-4, rtol=0)


def test_the_condition_is_the_pose_row_by_row_with_a_unit_translation(many):
    condition = camera_condition(many.c2w)
    assert condition.shape == (len(many.c2w), 16)
    for row, pose in zip(condition.double(), many.c2w.double(), strict=True):
        length = math.sqrt(sum(float(pose[i, 3]) ** 2 for i in range(3)))
        expected = [float(pose[i, j]) / (length if j == 3 and i < 3 else 1.0) for i in range(4) for j in range(4)]
        torch.testing.assert_close(row, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(condition[:, 3::4][:, :3].norm(dim=1), torch.ones(len(condition)))
    # The network cannot tell a near camera from a far one.
    near, far = (camera_condition(camera(70, 20, distance).c2w) for distance in (1.0, 9.0))
    torch.testing.assert_close(near, far)


def test_the_condition_leaves_the_poses_alone(many):
    before = many.c2w.clone()
    camera_condition(many.c2w)
    assert torch.equal(many.c2w, before)


def test_views_of_an_object_are_evenly_spaced_and_share_the_rest():
    ranges = CameraRanges(elevation_deg=(5.0, 25.0), fov_deg=(20.0, 50.0), distance=(0.7, 0.9))
    cameras = sample_cameras(ranges, 200, torch.Generator().manual_seed(3))
    azimuth = cameras.azimuth_deg.view(200, 4)
    torch.testing.assert_close(
        (azimuth.roll(-1, dims=1) - azimuth) % 360, torch.full((200, 4), 90.0), atol=1e-3, rtol=0
    )
    for name in ("elevation_deg", "fov_deg", "distance"):
        values = getattr(cameras, name).view(200, 4)
        assert (values == values[:, :1]).all() and len(values[:, 0].unique()) > 190
    factor = cameras.distance * torch.tan(torch.deg2rad(cameras.fov_deg) / 2)
    bounds = {"elevation_deg": ranges.elevation_deg, "fov_deg": ranges.fov_deg}
    for values, (low, high) in [(getattr(cameras, n), b) for n, b in bounds.items()] + [(factor, ranges.distance)]:
        assert low - 1e-4 <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high + 1e-4
    assert (azimuth >= 0).all() and (azimuth < 360).all()
    # Offsets go all the way round, not over a quarter.
    assert azimuth[:, 0].max() > 350 and azimuth[:, 0].min() < 10


@pytest.mark.parametrize("n_views", [1, 3])
def test_other_numbers_of_views(n_views):
    cameras = sample_cameras(CameraRanges(n_views=n_views), 2, torch.Generator().manual_seed(0))
    azimuth = cameras.azimuth_deg.view(2, n_views)
    torch.testing.assert_close((azimuth - azimuth[:, :1]) % 360, torch.arange(n_views) * 360 / n_views + 0 * azimuth)


def test_cameras_are_the_generators():
    torch.manual_seed(1)
    first = sample_cameras(CameraRanges(), 5, torch.Generator().manual_seed(7))
    torch.manual_seed(2)
    assert torch.equal(sample_cameras(CameraRanges(), 5, torch.Generator().manual_seed(7)).c2w, first.c2w)
    assert not torch.equal(sample_cameras(CameraRanges(), 5, torch.Generator().manual_seed(8)).c2w, first.c2w)
    assert torch.equal(first.at([3, 1]).c2w, first.c2w[[3, 1]])


def test_every_ray_projects_back_onto_the_centre_of_its_pixel(many):
    height, width = 5, 7
    origins, directions = rays(many, height, width)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(directions.shape[:-1]))
    for i in range(0, len(many.c2w), 17):
        world_to_camera = torch.linalg.inv(many.c2w[i].double())
        focal = 0.5 * height / math.tan(math.radians(float(many.fov_deg[i])) / 2)
        for row in range(height):
            for column in range(width):
                point = origins[i, row, column].double() + 1.7 * directions[i, row, column].double()
                x, y, z, _ = world_to_camera @ torch.cat([point, torch.ones(1, dtype=torch.float64)])
                assert z < 0
                assert float(width / 2 + focal * x / -z) == pytest.approx(column + 0.5, abs=1e-3)
                assert float(height / 2 - focal * y / -z) == pytest.approx(row + 0.5, abs=1e-3)


def test_the_middle_ray_meets_the_origin_and_the_rim_spans_the_field_of_view():
    origins, directions = rays(camera(200, 25, distance=3.0, fov=50.0), 101, 101)
    meets = origins[0, 50, 50] + 3.0 * directions[0, 50, 50]
    torch.testing.assert_close(meets, torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    top, bottom = directions[0, 0, 50], directions[0, 100, 50]
    half = math.degrees(math.atan(math.tan(math.radians(25.0)) * 100 / 101))  # centres of the outer pixels
    assert math.degrees(math.acos(float(top @ bottom))) == pytest.approx(2 * half, abs=1e-4)
    assert top[2] > bottom[2]
