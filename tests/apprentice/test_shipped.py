"""The apprentice that ships for the miniature."""

import pytest
import torch

from dreamdist3d.apprentice import is_known, load_apprentice, packaged_apprentice
from dreamdist3d.apprentice.inputs import patches_of
from dreamdist3d.apprentice.instant import distribution_of
from dreamdist3d.backbones import load_backbone, see_references
from dreamdist3d.backbones.reference_attention import ReferenceAttention
from dreamdist3d.mini.clusters import object_pictures
from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.prompts.learning.images import encode_references
from dreamdist3d.prompts.looks.pictures import Sampling, sample_pictures

COUNT = 6


@pytest.fixture(scope="module")
def mini():
    return load_backbone("mini")


@pytest.fixture(scope="module")
def shipped(mini):
    return load_apprentice(packaged_apprentice(mini))


def latents_of(mini, family: str) -> torch.Tensor:
    """Objects of a world that it was not trained on."""
    first = list(FAMILIES).index(family)
    pixels = [object_pictures(4321, first + len(FAMILIES) * index).pixels[index] for index in range(COUNT)]
    return encode_references(mini, torch.stack(pixels)).mean


def test_it_fits_the_miniature_and_is_small(mini, shipped):
    shipped.check_encoder(mini)
    assert packaged_apprentice(mini).stat().st_size < 8e6
    assert 0.8 < shipped.known["scores"].isfinite().float().mean() <= 1


def test_it_knows_mushrooms_and_says_that_it_does_not_know_birds(mini, shipped):
    made = {}
    for family in ("mushroom", "bird"):
        latents = latents_of(mini, family)
        made[family] = distribution_of(mini, shipped, patches_of(latents), latents)
    assert is_known(made["mushroom"]) and not is_known(made["bird"])


def test_its_draws_are_of_the_family(mini, shipped):
    from dreamdist3d.eval.features.mini import MiniClip

    latents = latents_of(mini, "mushroom")
    made = distribution_of(mini, shipped, patches_of(latents), latents)
    judge = MiniClip()
    texts = judge.encode_text([f"a{'n' if name[0] in 'aeiou' else ''} {name}" for name in FAMILIES])
    drawn = sample_pictures(mini, made, [made.draw(seed) for seed in range(COUNT)], Sampling(steps=8, rescale=0.6))
    called = (judge.encode(drawn) @ texts.T).argmax(1)
    assert (called == list(FAMILIES).index("mushroom")).float().mean() > 0.6


def test_its_reference_attention_lies_beside_the_unet(shipped):
    mini = load_backbone("mini")
    assert shipped.details is not None
    see_references(mini, shipped.reference_attention)
    assert sum(isinstance(one, ReferenceAttention) for one in mini.unet.attn_processors.values()) > 4
