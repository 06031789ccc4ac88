"""The study of objectives speaks of the shipped learning."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dreamdist3d.prompts import LearnConfig, SoftPromptEncoder, load_references
from dreamdist3d.prompts.learning.images import encode_references
from dreamdist3d.prompts.learning.learner import Learner
from tests.prompts.tiny import TinyBackbone, write_pictures

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import objective_variants

    return objective_variants


@pytest.fixture
def backbone(tmp_path):
    return TinyBackbone(tmp_path / "tokenizer")


def test_the_shipped_variant_is_the_library_also_in_a_stack(tmp_path, backbone, study):
    references = load_references(write_pictures(tmp_path / "pictures", 5), 8)
    latents, encoder = encode_references(backbone, references.pixels), SoftPromptEncoder(
        backbone.tokenizer, backbone.text_encoder
    )  # fmt: skip
    shared = {
        "limit": 1.0,
        "shaped_learning": True,
        "prompts": 7,
        "tokens": 2,
        "batch": 5,
        "steps": 4,
        "lr": 1e-2,
        "ortho": 0.5,
    }
    kinds = (study.Variant(**shared), 0), (study.Variant(**shared, class_word=True), 0), (study.Variant(**shared), 1)
    family = study.Family("cat", latents.mean)
    trials = [study.Trial(variant, family, seed, encoder, len(backbone.alphas_cumprod)) for variant, seed in kinds]
    study.learn_together(backbone, encoder, trials)
    for trial in trials:
        config = LearnConfig(
            prompts=7, tokens=2, batch=5, steps=4, lr=1e-2, ortho=0.5, suffix=trial.suffix, seed=trial.seed
        )
        learner = Learner(backbone, latents, config)
        for _ in range(4):
            learner.advance()
        torch.testing.assert_close(trial.tokens, learner.tokens.detach(), atol=1e-5, rtol=1e-4)


def test_balanced_cells_have_equal_shares(study):
    scores = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0)) * 3
    best = (scores + study.balanced(scores, torch.tensor([4.0, 0.0, 0.0, -2.0, 0.0]))).argmax(1)
    shares = torch.bincount(best, minlength=5) / len(best)
    assert float((shares - 0.2).abs().max()) < 0.01


def test_every_variant_learns_and_draws(tmp_path, backbone, study):
    generator = torch.Generator().manual_seed(0)
    latents, features = torch.randn(20, 2, 4, 4, generator=generator), torch.randn(20, 6, generator=generator)
    family = study.Family("cat", latents, {"clip": features, "dino": features})
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    small = {name: replace(variant, steps=2) for name, variant in study.VARIANTS.items()}
    trials = [study.Trial(variant, family, 0, encoder, 40) for variant in small.values()]
    before = [trial.tokens.clone() for trial in trials]
    study.learn_together(backbone, encoder, trials)
    for trial, start in zip(trials, before, strict=True):
        hidden = encoder.encode(trial.tokens, suffix=trial.suffix).hidden
        drawn = trial.variant.embed(hidden, trial.variant.omegas(hidden, 3), 0.5)
        assert torch.isfinite(trial.tokens).all() and (trial.tokens - start).abs().max() > 1e-3
        assert drawn.shape == (3, *hidden.shape[1:]) and torch.isfinite(drawn).all()
        torch.testing.assert_close(trial.variant.embed(hidden, trial.variant.omegas(hidden, 1), 0.0)[0], hidden.mean(0))


def test_draws_keep_to_the_strongest_directions_and_within_the_limit(study):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(6, 4, 5, generator=generator) * torch.tensor([5.0, 2.0, 1.0, 0.1, 0.1])
    omega = torch.randn(200, 6, generator=generator)
    mu, deviation = hidden.mean(0), (hidden - hidden.mean(0)).flatten(1)
    free, ranked, limited = (
        study.Variant(prompts=6, rank=rank, limit=limit).embed(hidden, omega, 1.5).sub(mu).flatten(1)
        for rank, limit in ((0, 0.0), (2, 0.0), (0, 0.8))
    )
    strongest = torch.linalg.svd(deviation).Vh[:2]
    torch.testing.assert_close(ranked, free @ strongest.T @ strongest, atol=1e-4, rtol=1e-4)
    farthest = 0.8 * deviation.norm(dim=1).median()
    torch.testing.assert_close(limited, free * (farthest / free.norm(dim=1, keepdim=True)).clamp(max=1))
    assert (free.norm(dim=1) < farthest).any() and (free.norm(dim=1) > farthest).any()
    lengths = deviation.norm(dim=1)
    even = study.Variant(prompts=6, even=True).embed(hidden, 5**0.5 * torch.eye(6)).sub(mu).flatten(1)
    torch.testing.assert_close(even, deviation * (lengths.median() / lengths).clamp(max=1)[:, None])
