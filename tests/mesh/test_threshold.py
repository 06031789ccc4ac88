import pytest
import torch

from dreamdist3d.lift.cameras import orbit, rays
from dreamdist3d.mesh import MeshSettings, Silhouettes, extract_mesh
from dreamdist3d.mesh.silhouettes import silhouette_agreement
from tests.mesh import fields


def ball_silhouettes(radius: float, size: int = 48) -> Silhouettes:
    """The exact outlines of a ball around the origin from four sides."""
    azimuth = torch.tensor([0.0, 90.0, 180.0, 270.0])
    cameras = orbit(azimuth, torch.full((4,), 20.0), torch.full((4,), 3.0), torch.full((4,), 50.0))
    origins, directions = rays(cameras, size, size)
    closest = torch.linalg.cross(origins, directions).norm(dim=-1)
    return Silhouettes(cameras, (closest < radius).float())


def fog(points: torch.Tensor) -> torch.Tensor:
    """Density 10 at radius 0.6, and 2 at 0.76, 30 at 0.49: each threshold is a ball of its own."""
    return fields.sphere(points, steepness=10.0)


@pytest.mark.parametrize("threshold", [2.0, 5.0, 10.0, 30.0])
def test_recovers_the_threshold_of_a_known_ball(threshold):
    radius = 0.6 - torch.tensor(threshold / 10.0).log().item() / 10.0
    settings = MeshSettings(resolution=64, search_resolution=48)
    mesh = extract_mesh(fog, fields.look(fog, fields.position_color), 1.0, settings, ball_silhouettes(radius))
    assert mesh.metadata["threshold"] == threshold
    assert mesh.extents / 2 == pytest.approx([radius] * 3, rel=0.03)


def test_a_tie_goes_to_the_candidate_nearest_to_the_default():
    seen = ball_silhouettes(0.6)
    nothing = Silhouettes(seen.cameras, torch.zeros_like(seen.alpha))
    settings = MeshSettings(resolution=32, search_resolution=32, threshold=14.0)
    mesh = extract_mesh(fog, fields.look(fog, fields.position_color), 1.0, settings, nothing)
    assert mesh.metadata["threshold"] == 15.0


def test_agreement_is_intersection_over_union():
    mesh = extract_mesh(
        fields.sphere, fields.look(fields.sphere, fields.position_color), 1.0, MeshSettings(resolution=64)
    )
    assert silhouette_agreement(mesh, ball_silhouettes(0.6)) > 0.97
    assert silhouette_agreement(mesh, ball_silhouettes(0.3)) == pytest.approx(0.25, abs=0.03)  # (0.3 / 0.6)^2
    blank = ball_silhouettes(0.6)
    assert silhouette_agreement(mesh, Silhouettes(blank.cameras, torch.zeros_like(blank.alpha))) == 0.0


def test_silhouettes_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[B, H, W\]"):
        Silhouettes(ball_silhouettes(0.5).cameras, torch.zeros(3, 8, 8))
