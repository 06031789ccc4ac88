"""Pictures of draws: their noise, their sheet, and what is written beside it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dreamdist3d.backbones import latent_shape, load_backbone, sample_images
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution, PromptDraw, SoftPromptEncoder
from dreamdist3d.prompts.looks import pictures
from dreamdist3d.prompts.looks.pictures import (
    Sampling,
    check_picture,
    columns_for,
    initial_noise,
    label_of,
    picture_grid,
    sample_pictures,
    write_sheet,
)


@pytest.fixture(scope="module")
def backbone(tiny_backbone):
    return load_backbone(str(tiny_backbone))


@pytest.fixture(scope="module")
def learned(tiny_distribution):
    return PromptDistribution.load(tiny_distribution)


QUICK = Sampling(steps=2)


def test_every_picture_is_its_draw_through_the_sampler(backbone, learned):
    draws = [learned.draw(4, 1.5), learned.draw(5, suffix="at night")]
    made = sample_pictures(backbone, learned, draws, QUICK)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    negative = encoder.encode_text([""]).hidden[0]
    noise = initial_noise(latent_shape(backbone), 2, QUICK)
    for index, draw in enumerate(draws):
        text = learned.embed(draw, encoder)[None]
        alone = sample_images(backbone, text, negative, noise[index : index + 1], 7.5, 2)
        torch.testing.assert_close(made[index], alone[0], atol=1e-5, rtol=0)


def test_parts_of_any_size_give_the_same_pictures(backbone, learned, monkeypatch):
    draws = [learned.draw(seed) for seed in range(5)]
    whole = sample_pictures(backbone, learned, draws, QUICK)
    monkeypatch.setattr(pictures, "_PIXELS_AT_ONCE", 2 * backbone.image_size**2)
    torch.testing.assert_close(sample_pictures(backbone, learned, draws, QUICK), whole, atol=1e-5, rtol=0)


def test_fresh_noise_is_each_pictures_own_and_matched_noise_is_one():
    fresh, matched = (initial_noise((2, 3, 3), 4, Sampling(noise=n, noise_seed=7)) for n in ("fresh", "matched"))
    assert len({tuple(row.flatten().tolist()) for row in fresh}) == 4
    assert torch.equal(matched, fresh[:1].expand_as(matched))
    assert torch.equal(initial_noise((2, 3, 3), 2, Sampling(noise_seed=7)), fresh[:2])
    assert not torch.equal(initial_noise((2, 3, 3), 2, Sampling(noise_seed=8)), fresh[:2])


def test_another_encoders_distribution_is_an_error_not_noise(backbone, learned):
    other = PromptDistribution(learned.tokens, "low_rank", "0" * 64)
    with pytest.raises(UserError, match="another text encoder"):
        sample_pictures(backbone, other, [other.draw(0)], QUICK)


@pytest.mark.parametrize("change", [{"guidance": -1}, {"guidance": float("nan")}, {"steps": 0}, {"rescale": 1.5}])
def test_settings_out_of_range_are_named(change):
    with pytest.raises(UserError, match=next(iter(change))):
        Sampling(**change)


@pytest.mark.parametrize("count,columns", [(1, 1), (2, 2), (6, 3), (12, 4), (16, 4), (40, 8), (13, 7)])
def test_a_grid_fills_its_rows(count, columns):
    assert columns_for(count) == columns


def test_the_sheet_shows_every_picture_in_its_place():
    colors = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    grid = np.asarray(picture_grid(colors[:, :, None, None].expand(6, 3, 8, 8), ["x"] * 6, cell=32))
    for index, color in enumerate(colors):
        row, column = divmod(index, 3)
        pixel = grid[6 + row * (32 + 6 + 18) + 16, 6 + column * (32 + 6) + 16]
        np.testing.assert_array_equal(pixel, (color * 255).round())


def test_a_sheet_has_its_record_beside_it(learned, tmp_path):
    draws = [learned.draw(3, prefix="a"), learned.draw(3, antithetic=True)]
    write_sheet(tmp_path / "grid.png", torch.rand(2, 3, 8, 8), draws, learned, QUICK)
    record = json.loads((tmp_path / "grid.json").read_text())
    assert record["distribution_sha256"] == learned.content_hash and record["sampling"]["steps"] == 2
    assert [PromptDraw.from_dict(value) for value in record["draws"]] == draws
    assert Image.open(tmp_path / "grid.png").size[0] > 256


def test_labels_tell_draws_apart():
    labels = [label_of(d) for d in (PromptDraw(7), PromptDraw(7, antithetic=True), PromptDraw.of_omega(torch.ones(2)))]
    assert labels == ["7", "7 twin", "given"]


@pytest.mark.parametrize("name", ["grid", "grid.txt", "folder.png"])
def test_a_name_that_is_no_picture_is_refused_before_the_work(name, tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="must name a picture"):
        check_picture(tmp_path / name)
