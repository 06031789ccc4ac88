"""Pictures of painted meshes: pinned down by geometry, and the same from both renderers."""

import math

import numpy as np
import pytest
import torch
import trimesh

from dreamdist3d.errors import UserError
from dreamdist3d.lift.cameras import Cameras, orbit
from dreamdist3d.mesh.axes import to_world
from dreamdist3d.mesh.hits import find_hits
from dreamdist3d.mesh.painted import Material, Painted, paint_on, sample_texture
from dreamdist3d.mesh.render import Seen, framed, headlight, joined, render, studio
from dreamdist3d.mesh.view_matrices import view_matrices
from tests.mesh.package.shapes import COLORS, package


def around(*azimuths: float, elevation: float = 10.0, distance: float = 2.0, fov: float = 40.0) -> Cameras:
    rows = [[a, elevation, distance, fov] for a in azimuths]
    return orbit(*torch.tensor(rows, dtype=torch.float64).T)


def letter() -> Painted:
    """The textured letter F in world axes, inside a sphere of radius 0.5."""
    made = package()
    level = made.levels[0]
    part = Painted(to_world(level.vertices), level.faces, uv=level.uv, texture=made.maps.albedo)
    return framed([part], 0.5)[0]


def ball(radius: float = 0.4) -> Painted:
    """A ball whose colours are its places."""
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    colors = np.round(127.5 + 127.5 * mesh.vertices / radius).astype(np.uint8)
    return Painted(mesh.vertices, mesh.faces, colors=colors, normals=mesh.vertices / radius)


def unlit(seen: Seen) -> np.ndarray:
    return np.ones((len(seen.points), 1))


def test_a_ball_is_a_disc_of_the_exact_size_and_its_middle_has_the_colour_of_the_place_seen():
    size, distance, radius = 128, 2.0, 0.4
    pictures = render([ball(radius)], around(0.0, 90.0, elevation=0.0), size, light=unlit, supersample=2)
    disc = math.tan(math.asin(radius / distance)) / math.tan(math.radians(20.0))  # its radius, in half pictures
    assert pictures.alpha.mean(axis=(1, 2)) == pytest.approx([math.pi * disc**2 / 4] * 2, rel=0.01)
    for rgb, expected in zip(pictures.rgb, [(255, 127, 127), (127, 255, 127)], strict=True):
        np.testing.assert_allclose(rgb[62:66, 62:66].reshape(-1, 3).mean(axis=0), expected, atol=4)


def test_the_texture_is_read_at_the_places_that_are_seen():
    """From the front the letter's front is all there is, from the right its right sides."""
    front, right = render([letter()], around(0.0, 90.0, elevation=0.0, distance=200.0, fov=0.35), 96, light=unlit).rgb
    assert set(map(tuple, front.reshape(-1, 3))) == {(255, 255, 255), tuple(COLORS[4])}
    assert set(map(tuple, right.reshape(-1, 3))) == {(255, 255, 255), tuple(COLORS[0])}


def test_parts_hide_each_other_and_each_keeps_its_own_paint():
    red = Painted.of(trimesh.creation.box((0.2, 0.4, 0.4)))
    red = Painted(red.vertices + [0.3, 0.0, 0.0], red.faces, colors=np.full((8, 3), (255, 0, 0), np.uint8))
    picture = render([ball(), red], around(0.0), 64, light=unlit).rgb[0]
    assert (picture[32, 32] == (255, 0, 0)).all()
    behind = render([ball(), red], around(180.0), 64, light=unlit).rgb[0]
    assert behind[32, 32, 0] < 40


def test_light_depends_on_what_faces_where():
    seen = render([ball()], around(0.0, elevation=0.0), 64, light=headlight).rgb[0]
    flat = render([ball()], around(0.0, elevation=0.0), 64, light=unlit).rgb[0]
    hit = flat[32, 32].astype(float)
    assert seen[32, 32] == pytest.approx(hit, abs=2)  # faces the camera
    assert (seen[32, 18].astype(float) < 0.96 * flat[32, 18]).all()
    gray = Painted(
        ball().vertices, ball().faces, np.full((len(ball().vertices), 3), 128, np.uint8), normals=ball().normals
    )
    photo = render([gray], around(0.0, elevation=0.0), 64, light=studio).rgb[0].astype(int)
    assert photo[22, 24, 0] > photo[32, 32, 0] > photo[44, 40, 0]  # the lamp is high on the left


def test_background_shows_where_the_mesh_does_not_and_mixes_at_its_border():
    picture = render([ball()], around(0.0), 64, light=unlit, background=0.0, supersample=4)
    assert (picture.rgb[0, 0, 0] == 0).all() and picture.alpha[0, 0, 0] == 0.0 and picture.alpha[0, 32, 32] == 1.0
    assert ((picture.alpha > 0) & (picture.alpha < 1)).any()


def pane(depth: float, color: tuple[int, ...], **more) -> Painted:
    """A square of 1 that faces +x, at x = depth."""
    corners = np.array([[depth, -0.5, -0.5], [depth, 0.5, -0.5], [depth, 0.5, 0.5], [depth, -0.5, 0.5]])
    return Painted(corners, np.array([[0, 1, 2], [0, 2, 3]]), np.tile(np.uint8(color), (4, 1)), **more)


def test_what_lets_light_through_mixes_with_all_that_lies_behind_and_masks_show_it_whole():
    camera = around(0.0, elevation=0.0)
    clear = Material("BLEND")
    panes = [pane(0.2, (255, 0, 0, 128), material=clear), pane(0.0, (0, 0, 255, 64), material=clear)]
    seen = render(panes, camera, 16, light=unlit, background=0.0)
    first, second = 128 / 255, 64 / 255
    np.testing.assert_allclose(seen.rgb[0, 8, 8], [255 * first, 0, 255 * (1 - first) * second], atol=1)
    assert seen.alpha[0, 8, 8] == pytest.approx(1 - (1 - first) * (1 - second))
    for opacity, expected in ((100, (0, 0, 255)), (200, (255, 0, 0))):
        front = pane(0.2, (255, 0, 0, opacity), material=Material("MASK", 0.5))
        seen = render([front, pane(0.0, (0, 0, 255))], camera, 16, light=unlit)
        assert tuple(seen.rgb[0, 8, 8]) == expected and seen.alpha[0, 8, 8] == 1.0


def test_bilinear_reads_are_exact_at_centres_and_halfway_between():
    texture = np.zeros((4, 4, 3), np.uint8)
    texture[1, 2] = 200
    uv = np.array([[2.5, 1.5], [2.0, 1.5], [2.5, 2.0], [2.0, 2.0], [0.5, 0.5]]) / 4
    np.testing.assert_allclose(255 * sample_texture(texture, uv)[:, 0], [200, 100, 100, 50, 0])


def test_paint_of_several_parts_is_that_of_each_faces_own_part():
    parts = [ball(), letter()]
    face = np.array([len(ball().faces) + 3, 5])
    weights = np.full((2, 3), 1 / 3)
    colors = paint_on(parts, face, weights)
    np.testing.assert_array_equal(colors[0], letter().color_at(np.array([3]), weights[:1])[0])
    np.testing.assert_array_equal(colors[1], ball().color_at(np.array([5]), weights[:1])[0])


def test_a_painted_mesh_needs_paint():
    with pytest.raises(ValueError, match="colours at its vertices"):
        Painted(np.zeros((3, 3)), np.array([[0, 1, 2]]), texture=np.zeros((2, 2, 3), np.uint8))


def test_view_matrices_take_the_camera_to_the_origin_and_what_it_looks_at_forward():
    cameras = around(30.0, 200.0, elevation=25.0)
    rotation, translation = view_matrices(cameras)
    eye = torch.einsum("bi,bij->bj", cameras.c2w[:, :3, 3], rotation) + translation
    target = translation  # of the world's origin
    np.testing.assert_allclose(eye, np.zeros((2, 3)), atol=1e-12)
    np.testing.assert_allclose(target, [[0.0, 0.0, 2.0]] * 2, atol=1e-12)
    assert torch.linalg.det(rotation) == pytest.approx([1.0, 1.0])
    up = torch.einsum("i,bij->bj", torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), rotation)
    assert (up[:, 1] > 0.8).all()


def test_a_renderer_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    monkeypatch.delitem(sys.modules, "dreamdist3d.mesh.hits_pytorch3d", raising=False)
    with pytest.raises(UserError, match="--renderer pytorch3d: .*use --renderer embree"):
        find_hits(joined([ball()]), around(0.0), 16, "pytorch3d")


@pytest.mark.parametrize("make", [ball, letter])
def test_both_renderers_agree_in_silhouette_and_colour(make):
    pytest.importorskip("pytorch3d.renderer", reason="pytorch3d is not installed")
    cameras = around(0.0, 40.0, 135.0, 250.0, elevation=20.0)
    one, two = (render([make()], cameras, 96, supersample=2, renderer=name) for name in ("embree", "pytorch3d"))
    seen = [pictures.alpha > 0.5 for pictures in (one, two)]
    overlap = (seen[0] & seen[1]).sum(axis=(1, 2)) / (seen[0] | seen[1]).sum(axis=(1, 2))
    assert (overlap >= 0.98).all()
    inside = (one.alpha == 1) & (two.alpha == 1)
    difference = np.abs(one.rgb[inside].astype(int) - two.rgb[inside])
    assert difference.mean() < 1.0 and np.percentile(difference, 99) <= 4
