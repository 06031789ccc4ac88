import numpy as np
import trimesh

from dreamdist3d.eval.flags import empty_assets, foreground
from dreamdist3d.eval.renders import render_views
from tests.eval.tiny import colored


def test_foreground_of_a_render_is_the_object():
    views = render_views(colored(trimesh.creation.icosphere(subdivisions=4), (200, 40, 40)), 64)
    masks = foreground(views)
    # A ball of radius 0.5 at distance 1.55 under a field of view of 40 degrees.
    share = np.pi * (np.tan(np.arcsin(0.5 / 1.55)) / np.tan(np.radians(20)) / 2) ** 2
    assert masks.shape == (4, 64, 64) and np.allclose(masks.mean(axis=(1, 2)), share, atol=0.03)


def test_foreground_works_on_any_plain_background():
    picture = np.full((2, 8, 8, 3), (30, 60, 90), dtype=np.uint8)
    picture[1, 2:4, 2:4] = (30, 60, 200)
    assert foreground(picture).sum(axis=(1, 2)).tolist() == [0, 4]


def test_specks_are_empty_and_thin_things_are_not():
    speck, rod = np.zeros((2, 4, 128, 128), dtype=bool)
    speck[:, 0, :5] = True
    rod[2, 14:114, 63] = True  # seen from one side only
    assert empty_assets(np.stack([speck, rod])).tolist() == [True, False]
