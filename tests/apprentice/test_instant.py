"""Pictures in, a distribution out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dreamdist3d.apprentice import instant
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution, load_references


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(5):
        Image.fromarray(rng.integers(256, size=(20, 20, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
    return tmp_path


def test_the_order_of_the_files_does_not_change_a_bit(backbone, trained, folder):
    made = instant(backbone, trained, load_references(folder, 16))
    for index in range(5):
        (folder / f"{index}.png").rename(folder / f"{'cadbe'[index]}.png")
    again = instant(backbone, trained, load_references(folder, 16))
    assert torch.equal(made.tokens, again.tokens)
    assert made.content_hash == again.content_hash


@pytest.mark.parametrize(("pictures", "prompts"), [(1, 32), (5, 32), (40, 40)])
def test_every_picture_has_a_prompt(backbone, trained, folder, pictures, prompts):
    references = load_references(folder, 16)
    pixels = torch.cat([references.pixels + i / 50 for i in range(8)])[:pictures]
    many = replace(references, pixels=pixels, paths=references.paths[:1] * pictures)
    made = instant(backbone, trained, many)
    assert made.tokens.shape == (prompts, 2, 16)
    assert len(made.tokens.unique(dim=0)) == pictures


def test_it_is_a_file_like_any_other(backbone, trained, folder, tmp_path):
    made = instant(backbone, trained, load_references(folder, 16), prompts=3, prefix="a photo of")
    made.save(tmp_path / "x.safetensors")
    read = PromptDistribution.load(tmp_path / "x.safetensors")
    assert read.content_hash == made.content_hash
    assert (read.prefix, read.covariance, read.metadata["objective"]) == ("a photo of", "low_rank", "instant")
    assert "knownness" not in read.metadata  # this apprentice was never calibrated
    read.check_encoder(backbone)


def test_what_does_not_fit_is_refused(backbone, trained, folder):
    references = load_references(folder, 16)
    with pytest.raises(UserError, match="more than the 256"):
        instant(backbone, trained, replace(references, paths=references.paths * 60))
    with pytest.raises(UserError, match="another text encoder"):
        instant(backbone, replace(trained, fingerprint="fp16-0"), references)
    with pytest.raises(UserError, match="16 of 36"):
        instant(backbone, trained, load_references(folder, 24))
