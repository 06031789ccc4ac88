"""What an apprentice knows."""

from dataclasses import replace

import pytest
import torch

from dreamdist3d.apprentice.inputs import patches_of
from dreamdist3d.apprentice.instant import distribution_of
from dreamdist3d.apprentice.knownness import LEAST, SIZES, calibrated, features, is_known, knownness, oddness
from dreamdist3d.errors import UserError


def test_knownness_is_a_share_of_held_out_clusters():
    scores = torch.arange(99.0).repeat(len(SIZES), 1)
    scores[2, 50:] = torch.nan  # fewer clusters have three pictures
    assert knownness(scores, -1.0, 5) == 1.0
    assert knownness(scores, 98.5, 5) == 0.01
    assert knownness(scores, 89.0, 1) == 0.11
    assert knownness(scores, 49.0, 3) == 2 / 51
    assert knownness(scores, 98.5, 100) == 0.01  # the nearest size


def test_of_known_pictures_few_are_called_unknown():
    drawn = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    scores = drawn[:1, :200].repeat(len(SIZES), 1)
    found = torch.tensor([knownness(scores, score, 5) for score in drawn[1].tolist()])
    assert abs(float((found < LEAST).float().mean()) - LEAST) < 0.02


def test_oddness_is_the_distance_from_the_nearest_that_was_taught():
    known = {"mean": torch.tensor([1.0, 1.0]), "taught": torch.tensor([[1.0, 0.0], [0.0, 1.0]])}
    assert oddness(known, torch.tensor([[6.0, 1.0], [1.0, 1.5]])) == 0.0
    assert oddness(known, torch.tensor([[6.0, 1.0], [-1.0, 1.0]])) == pytest.approx(2**0.5 / 2)


def test_features_are_means_of_the_unets_first_upward_block(backbone, bank):
    latents = bank.latents(range(3))
    found = features(backbone, latents)
    assert found.shape == (3, 8)
    torch.testing.assert_close(features(backbone, latents[1:2]), found[1:2], atol=1e-5, rtol=1e-4)
    assert not backbone.unet.up_blocks[0]._forward_hooks


def test_a_calibrated_apprentice_says_what_it_knows_in_the_file(backbone, bank, trained):
    knowing = calibrated(trained, backbone, bank)
    scores = knowing.known["scores"]
    assert scores.shape == (len(SIZES), 1)
    assert torch.equal(scores.isnan()[:, 0], torch.tensor([False] * 4 + [True]))  # the cluster has six pictures
    latents = bank.latents(bank.clusters[3].pictures)
    made = distribution_of(backbone, knowing, patches_of(latents), latents)
    assert 0 < float(made.metadata["knownness"]) <= 1
    assert is_known(made)
    assert not is_known(replace(made, metadata={"knownness": "0.0050"}))


def test_without_held_out_clusters_there_is_nothing_to_compare_with(backbone, bank, trained, monkeypatch):
    monkeypatch.setattr(type(bank), "split", lambda self, name: [])
    with pytest.raises(UserError, match="holds out no clusters"):
        calibrated(trained, backbone, bank)
