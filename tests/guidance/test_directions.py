"""Words by direction: which view is which, and what a model that sees no cameras is asked."""

import pytest
import torch

from dreamdist3d.guidance import MultiviewGuidance
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.guidance.directions import DIRECTIONS, directions_of, encode_views, view_words
from dreamdist3d.lift.cameras import orbit
from dreamdist3d.prompts import FixedMoments, SoftPromptEncoder
from tests.guidance.fakes import LENGTH, WIDTH, linear_backbone
from tests.prompts import tiny
from tests.prompts.test_composition import CATS


def cameras_at(azimuth_deg, elevation_deg):
    azimuth = torch.tensor(azimuth_deg, dtype=torch.float32)
    ones = torch.ones_like(azimuth)
    return orbit(azimuth, torch.tensor(elevation_deg, dtype=torch.float32), ones, 40 * ones)


def test_a_direction_is_that_of_threestudio():
    """Its default thresholds: 45 degrees around front and back, overhead above 60."""
    azimuths = [0.0, 44.0, 46.0, 90.0, 134.0, 136.0, 180.0, 224.0, 226.0, 270.0, 314.0, 316.0, 359.0, 0.0, 180.0]
    elevations = [0.0] * 12 + [59.0, 61.0, 75.0]
    found = [DIRECTIONS[i] for i in directions_of(cameras_at(azimuths, elevations))]
    assert found == [
        *("front", "front", "side", "side", "side", "back", "back", "back", "side", "side", "side", "front"),
        *("front", "overhead", "overhead"),
    ]


def test_front_is_where_the_stills_say_front():
    """Azimuth 0 looks at the front, from +x."""
    camera = cameras_at([0.0], [0.0])
    assert camera.c2w[0, 0, 3] > 0 and DIRECTIONS[int(directions_of(camera))] == "front"


def test_every_view_is_judged_by_its_directions_prompt():
    backbone = linear_backbone(n_views=1)
    generator = torch.Generator().manual_seed(0)
    text, negative = torch.randn(2, LENGTH, WIDTH, generator=generator)
    views = torch.randn(4, LENGTH, WIDTH, generator=generator)
    cameras = cameras_at([0.0, 90.0, 180.0, 0.0], [0.0, 0.0, 0.0, 80.0])
    guidance = MultiviewGuidance(backbone, text, negative, GuidanceConfig(), views)
    guidance(torch.rand(4, 3, 8, 8), cameras, 0.5, torch.Generator().manual_seed(1), torch.zeros(3))
    seen = backbone.unet.seen[-1]["text"]
    assert torch.equal(seen, torch.cat([views[[1, 0, 2, 3]], negative.expand(4, -1, -1)]))


@pytest.fixture
def encoder(tmp_path):
    tokenizer = tiny.tiny_tokenizer(tmp_path)
    return SoftPromptEncoder(tokenizer, tiny.tiny_text_encoder(tokenizer))


def test_the_draw_keeps_its_omega_under_all_directions(encoder):
    draw = CATS.draw(4, 1.5, prefix="a", suffix="red")
    found = encode_views(CATS, draw, encoder, view_words())
    for name, prompt in zip(DIRECTIONS, found, strict=True):
        torch.testing.assert_close(prompt, CATS.embed(draw.under(suffix=f"red, {name} view"), encoder))


def test_moments_alone_look_alike_from_everywhere(encoder):
    source = FixedMoments(torch.zeros(tiny.LENGTH, tiny.WIDTH), torch.ones(tiny.LENGTH, tiny.WIDTH), "f" * 64)
    found = encode_views(source, source.draw(1), encoder, view_words())
    assert torch.equal(found, source.embed(source.draw(1), encoder).expand(4, -1, -1))
