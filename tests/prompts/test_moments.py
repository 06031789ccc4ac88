"""The Gaussian of METHOD section 2 against numpy, its own samples, and the closed form of a blend."""

import numpy as np
import pytest
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import Moments
from dreamdist3d.prompts.moments import COVARIANCES, blend


def hidden_states(count=5, length=3, width=2, dtype=torch.float64, seed=1):
    return torch.randn(count, length, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_moments_are_numpys_with_one_over_k():
    hidden = hidden_states()
    moments = Moments.of(hidden, "diagonal")
    np.testing.assert_allclose(moments.mu, hidden.numpy().mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.sigma, hidden.numpy().std(0, ddof=0), rtol=1e-13)


def test_half_precision_states_are_measured_in_single():
    half = hidden_states().half()
    torch.testing.assert_close(Moments.of(half, "diagonal").sigma, Moments.of(half.float(), "diagonal").sigma)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_draws_converge_to_mean_and_covariance(covariance):
    hidden, gamma, draws = hidden_states(), 1.5, 40_000
    moments = Moments.of(hidden, covariance)
    shape = (draws, len(hidden)) if covariance == "low_rank" else (draws, *hidden.shape[1:])
    omega = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    samples = moments.embed(omega, gamma).flatten(1).numpy()
    flat = hidden.flatten(1).numpy()
    if covariance == "low_rank":
        expected = gamma**2 * np.cov(flat, rowvar=False, ddof=1)
    else:
        expected = gamma**2 * np.diag(flat.var(0, ddof=0))
    np.testing.assert_allclose(samples.mean(0), flat.mean(0), atol=0.05)
    np.testing.assert_allclose(np.cov(samples, rowvar=False), expected, atol=0.12)


def test_the_order_of_the_prompts_does_not_matter_to_the_moments():
    hidden = hidden_states()
    one, other = (Moments.of(h, "low_rank") for h in (hidden, hidden[torch.tensor([3, 0, 4, 2, 1])]))
    torch.testing.assert_close(one.mu, other.mu, atol=1e-15, rtol=1e-14)
    torch.testing.assert_close(one.sigma, other.sigma, atol=1e-15, rtol=1e-14)


def test_no_draw_lies_farther_from_the_mean_than_the_limit():
    hidden = hidden_states(count=6)
    free, limited = Moments.of(hidden, "low_rank"), Moments.of(hidden, "low_rank", limit=0.8)
    farthest = 0.8 * (hidden - hidden.mean(0)).flatten(1).norm(dim=1).sort().values[2]  # the lower of two middle ones
    omega = torch.randn(50, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    shortened = 0
    for one in omega:
        deviation, kept = (moments.embed(one, 1.2) - moments.mu for moments in (free, limited))
        scale = min(1.0, float(farthest / deviation.norm()))
        shortened += scale < 1
        torch.testing.assert_close(kept, scale * deviation)
    assert 0 < shortened < 50
    torch.testing.assert_close(limited.embed(omega, 1.2)[7], limited.embed(omega[7], 1.2))
    assert (limited.embed(omega, 1e6) - limited.mu).flatten(1).norm(dim=1).max() < farthest * (1 + 1e-9)


def test_a_limited_prompt_alone_is_still_textual_inversion():
    hidden = hidden_states(count=1)
    assert torch.equal(Moments.of(hidden, "low_rank", limit=1.0).embed(torch.ones(1)), hidden[0])


def test_a_blends_limit_is_as_lengths_of_independent_draws_add():
    first, second = (Moments.of(hidden_states(seed=seed), "low_rank", limit=1.0) for seed in (3, 4))
    made = blend([first, second], (0.3, 0.7), (1.0, 2.0))
    torch.testing.assert_close(made.farthest, ((0.3 * first.farthest) ** 2 + (0.7 * second.farthest) ** 2).sqrt())
    free = Moments.of(hidden_states(seed=4), "low_rank")
    assert blend([first, free], (0.5, 0.5), (1.0, 1.0)).farthest is None
    assert first.scaled(0.5).farthest is first.farthest


def some_components(covariance):
    return [Moments.of(hidden_states(count, seed=count), covariance) for count in (4, 6, 1)]


WEIGHTS, GAMMAS = (0.5, 0.3, 0.2), (1.0, 2.0, 0.5)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_blend_is_the_closed_form(covariance):
    components = some_components(covariance)
    made = blend(components, WEIGHTS, GAMMAS)
    mu = sum(w * c.mu.numpy() for w, c in zip(WEIGHTS, components, strict=True))
    variance = sum(w**2 * (g * c.sigma.numpy()) ** 2 for w, g, c in zip(WEIGHTS, GAMMAS, components, strict=True))
    np.testing.assert_allclose(made.mu, mu, rtol=1e-13)
    np.testing.assert_allclose(made.sigma, np.sqrt(variance), rtol=1e-13)
    assert made.covariance == covariance


def test_a_low_rank_blend_has_the_weighted_sum_of_covariances():
    components = some_components("low_rank")
    directions = blend(components, WEIGHTS, GAMMAS).directions.flatten(1).numpy()
    expected = 0.0
    for count, weight, gamma in zip((4, 6), WEIGHTS, GAMMAS, strict=False):
        flat = hidden_states(count, seed=count).flatten(1).numpy()
        expected = expected + (weight * gamma) ** 2 * np.cov(flat, rowvar=False, ddof=1)
    np.testing.assert_allclose(directions.T @ directions, expected, atol=1e-13)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_blend_is_the_weighted_sum_of_its_components_draws(covariance):
    components = some_components(covariance)
    made = blend(components, WEIGHTS, GAMMAS)
    omega = torch.randn(made.omega_shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    if covariance == "diagonal":  # one omega moves by the root of the summed squares
        shares = [w * g * c.sigma.numpy() for w, g, c in zip(WEIGHTS, GAMMAS, components, strict=True)]
        expected = made.mu.numpy() + 2.0 * omega.numpy() * np.linalg.norm(shares, axis=0)
    else:
        parts = zip(WEIGHTS, GAMMAS, components, omega.split([4, 6, 1]), strict=True)
        expected = sum(w * c.embed(o, 2.0 * g).numpy() for w, g, c, o in parts)
    np.testing.assert_allclose(made.embed(omega, 2.0), expected, atol=1e-13)


def test_components_of_different_kinds_do_not_blend():
    with pytest.raises(UserError, match="do not blend"):
        blend([Moments.of(hidden_states(), c) for c in COVARIANCES], (0.5, 0.5), (1.0, 1.0))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_scaled_moments_are_draws_with_that_gamma(covariance):
    moments = Moments.of(hidden_states(), covariance)
    omega = torch.ones(moments.omega_shape, dtype=torch.float64)
    torch.testing.assert_close(moments.scaled(1.7).embed(omega), moments.embed(omega, 1.7))
