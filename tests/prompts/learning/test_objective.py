"""The loss of Algorithm 1 against a reference written straight from METHOD section 1, in float64."""

from dataclasses import replace

import pytest
import torch

from dreamdist3d.prompts import LearnConfig, SoftPromptEncoder
from dreamdist3d.prompts.learning.objective import StepDraws, min_snr_weight, objective, orthogonality
from tests.prompts.tiny import LENGTH, WIDTH, TinyBackbone

K, M, B, S = 4, 2, 3, 2


def draws_for(covariance):
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    omega = normal(B, S, K) if covariance == "low_rank" else normal(B, S, LENGTH, WIDTH)
    return StepDraws(
        normal(B, 2, 4, 4), normal(B, 2, 4, 4), torch.tensor([0, 13, 39]), omega, torch.zeros(B, dtype=torch.bool)
    )


def reference_loss(backbone, features, draws, config):
    """Algorithm 1, one image and one draw at a time."""
    h = features.hidden
    mu = sum(h) / K
    variance = sum((h_k - mu) ** 2 for h_k in h) / K
    sigma = torch.where(variance > 1e-20, variance.clamp(min=1e-20).sqrt(), 0.0)
    total = 0.0
    for i in range(B):
        z, eps, t = draws.latents[i], draws.noise[i], draws.timesteps[i]
        a = backbone.alphas_cumprod[t]
        z_t = a.sqrt() * z + (1 - a).sqrt() * eps
        v = a.sqrt() * eps - (1 - a).sqrt() * z
        target = v if backbone.prediction_type == "v_prediction" else eps
        snr = a / (1 - a)
        weight = 1.0
        if config.min_snr_gamma:
            divisor = snr + 1 if backbone.prediction_type == "v_prediction" else snr
            weight = min(snr, config.min_snr_gamma) / divisor
        for s in range(S):
            w = draws.omega[i, s]
            if config.covariance == "diagonal":
                c = mu + w * sigma
            else:
                c = mu + sum(w[k] * (h[k] - mu) for k in range(K)) / (K - 1) ** 0.5
            prediction = backbone.predict(z_t[None], t[None], c[None])[0]
            total = total + weight * ((target - prediction) ** 2).mean() / (B * S)
    p = [f / f.norm() for f in features.pooled]
    overlap = sum((p[i] @ p[j]).abs() for i in range(K) for j in range(i + 1, K)) / (K * (K - 1))
    return total + config.ortho * overlap


@pytest.mark.parametrize("covariance", ["low_rank", "diagonal"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("min_snr_gamma", [None, 5.0])
def test_loss_and_gradient_are_the_papers(tmp_path, covariance, prediction_type, min_snr_gamma):
    backbone = TinyBackbone(tmp_path, prediction_type, torch.float64)
    config = LearnConfig(
        "paper", K, M, samples=S, batch=B, ortho=0.5, covariance=covariance, min_snr_gamma=min_snr_gamma
    )
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    tokens = torch.randn(K, M, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    draws = draws_for(covariance)
    results = []
    for loss_of in (objective, reference_loss):
        loss = loss_of(backbone, encoder.encode(tokens, "a photo of"), draws, config)
        results.append((loss.detach(), *torch.autograd.grad(loss, tokens)))
    torch.testing.assert_close(results[0], results[1], atol=1e-9, rtol=1e-9)
    assert results[0][1].abs().max() > 1e-4


def limited_loss(backbone, features, draws):
    """Coupled learning, one sample at a time; how far a draw is scaled down counts as a constant."""
    h = features.hidden
    mu = sum(h) / K
    farthest = sorted(float((h_k - mu).norm()) for h_k in h)[(K - 1) // 2]
    total, scales = 0.0, []
    for i in range(B):
        deviation = sum(draws.omega[i, 0, k] * (h[k] - mu) for k in range(K)) / (K - 1) ** 0.5
        scales.append(1.0 if draws.alone[i] else min(1.0, farthest / float(deviation.norm())))
        t, a = draws.timesteps[i], backbone.alphas_cumprod[draws.timesteps[i]]
        z_t = a.sqrt() * draws.latents[i] + (1 - a).sqrt() * draws.noise[i]
        prediction = backbone.predict(z_t[None], t[None], (mu + scales[-1] * deviation)[None])[0]
        total = total + ((draws.noise[i] - prediction) ** 2).mean() / B
    return total, scales


def test_coupled_draws_keep_within_the_limit_and_prompts_alone_do_not(tmp_path):
    backbone = TinyBackbone(tmp_path, dtype=torch.float64)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    tokens = torch.randn(K, M, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    draws = draws_for("low_rank")
    draws = replace(draws, omega=3 * draws.omega[:, :1], alone=torch.tensor([True, False, False]))
    results = []
    for loss_of in (
        lambda *a: objective(*a, LearnConfig(prompts=K, batch=B, ortho=0.0)),
        lambda *a: limited_loss(*a)[0],
    ):
        loss = loss_of(backbone, encoder.encode(tokens), draws)
        results.append((loss.detach(), *torch.autograd.grad(loss, tokens)))
    torch.testing.assert_close(results[0], results[1], atol=1e-9, rtol=1e-9)
    assert min(limited_loss(backbone, encoder.encode(tokens), draws)[1][1:]) < 0.9


def test_one_call_of_the_unet_serves_all_images_and_draws(tmp_path):
    backbone = TinyBackbone(tmp_path, dtype=torch.float64)
    features = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).encode(torch.ones(K, M, WIDTH))
    objective(backbone, features, draws_for("low_rank"), LearnConfig("paper", K, samples=S))
    assert backbone.calls == [(B * S, 2, 4, 4)]


def test_orthogonality_is_zero_for_orthogonal_and_half_for_equal_features():
    assert orthogonality(torch.eye(4) * 3) == 0
    torch.testing.assert_close(orthogonality(torch.ones(4, 6)), torch.tensor(0.5))
    opposite = torch.tensor([[1.0, 0.0], [-2.0, 0.0]])
    torch.testing.assert_close(orthogonality(opposite), torch.tensor(0.5))
    assert orthogonality(torch.ones(1, 6)) == 0


def test_min_snr_weights_at_their_ends():
    alphas = torch.tensor([0.0, 0.5, 0.99])
    torch.testing.assert_close(min_snr_weight(alphas, 5.0, "epsilon"), torch.tensor([1.0, 1.0, 5 / 99]))
    torch.testing.assert_close(min_snr_weight(alphas, 5.0, "v_prediction"), torch.tensor([0.0, 0.5, 0.05]))
