"""What is said of a distribution's health, and from what."""

import pytest
import torch

from dreamdist3d.backbones import load_backbone
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.prompts.looks import health
from dreamdist3d.prompts.looks.health import Health, likeness, look_at_health


@pytest.fixture(scope="module")
def backbone(tiny_backbone):
    return load_backbone(str(tiny_backbone))


@pytest.fixture(scope="module")
def learned(tiny_distribution):
    return PromptDistribution.load(tiny_distribution)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(health, "STEPS", 2)
    monkeypatch.setattr(health, "DRAWS", 4)


def references_for(backbone, count):
    return torch.rand(count, 3, backbone.image_size, backbone.image_size, generator=torch.Generator().manual_seed(0))


def cosine(a, b):
    return float(a @ b / a.norm() / b.norm())


def test_likeness_is_the_share_above_the_reference_least_like_the_others():
    generator = torch.Generator().manual_seed(1)
    known, made = (torch.randn(count, 5, generator=generator) + shift for count, shift in ((6, 2), (40, 0.5)))
    unit = [row / row.norm() for row in known]
    least = min(cosine(one, sum(unit) - one) for one in unit)
    expected = sum(cosine(row, sum(unit)) >= least for row in made) / 40
    assert 0 < expected < 1 and likeness(known, made) == pytest.approx(expected)
    assert likeness(known, known) == 1 and likeness(known, -known) == 0


def test_draws_without_scale_are_one_picture_and_larger_ones_differ_more(backbone, learned, quick):
    found = [look_at_health(backbone, learned, references_for(backbone, 5), gamma) for gamma in (0.0, 0.3, 1.0)]
    assert found[0].spread == pytest.approx(0, abs=1e-5) and found[0].spread < found[1].spread < found[2].spread
    assert "--objective coupled" in found[0].warnings[0] and all(0 <= one.family <= 1 for one in found)
    assert not backbone.unet.mid_block._forward_hooks


def test_parts_of_any_size_say_the_same(backbone, learned, quick, monkeypatch):
    references = references_for(backbone, 5)
    whole = look_at_health(backbone, learned, references)
    monkeypatch.setattr(health, "_CHUNK_PIXELS", 2 * backbone.image_size**2)
    parts = look_at_health(backbone, learned, references)
    assert parts.spread == pytest.approx(whole.spread, rel=1e-3) and parts.family == whole.family


@pytest.mark.parametrize("count", [1, 2])
def test_few_references_say_nothing(backbone, learned, quick, count):
    found = look_at_health(backbone, learned, references_for(backbone, count))
    assert found == Health(1.0, None, None) and not found.warnings and "unknown" in found.in_words


def test_warnings_have_their_number_and_a_way_out():
    assert not Health(1.0, 0.5, 0.75).warnings
    collapsed, left = Health(0.7, 0.31, 0.6).warnings
    assert "0.31 times" in collapsed and "gamma 0.7" in collapsed
    assert "60%" in left and "smaller gamma" in left and "--suffix" in left


@pytest.mark.parametrize("found", [Health(1.0, 0.25, 0.875), Health(0.5, None, None)])
def test_what_a_file_records_is_read_back(found):
    assert Health.recorded(found.facts) == found and Health.recorded({}) is None
