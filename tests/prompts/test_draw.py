"""The Gaussian of METHOD section 2 against numpy and against its own samples."""

import json

import numpy as np
import pytest
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import Moments, PromptDraw
from dreamdist3d.prompts.draw import COVARIANCES


def hidden_states(count=5, length=3, width=2, dtype=torch.float64):
    return torch.randn(count, length, width, generator=torch.Generator().manual_seed(1), dtype=dtype)


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


def test_one_low_rank_draw_is_the_formula():
    hidden = hidden_states(dtype=torch.float32)
    draw = PromptDraw(seed=11, gamma=0.7)
    w = torch.randn(5, generator=torch.Generator().manual_seed(11)).numpy()
    mu = hidden.numpy().mean(0)
    expected = mu + 0.7 * sum(w[k] * (hidden.numpy()[k] - mu) for k in range(5)) / np.sqrt(4)
    np.testing.assert_allclose(draw.embed(Moments.of(hidden, "low_rank")), expected, atol=1e-6)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_single_prompt_is_textual_inversion(covariance):
    hidden = hidden_states(count=1).requires_grad_()
    moments = Moments.of(hidden, covariance)
    embedded = PromptDraw(3, 2.0, covariance).embed(moments)
    assert not moments.sigma.any()
    assert torch.equal(embedded, hidden[0])
    embedded.sum().backward()
    assert torch.equal(hidden.grad, torch.ones_like(hidden))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_gradients_stay_finite_where_prompts_agree(covariance):
    hidden = hidden_states().clone()
    hidden[:, 0] = hidden[0, 0]
    hidden.requires_grad_()
    PromptDraw(3, 1.0, covariance).embed(Moments.of(hidden, covariance)).square().sum().backward()
    assert torch.isfinite(hidden.grad).all()


def test_the_order_of_the_prompts_does_not_matter_to_the_moments():
    hidden = hidden_states()
    one, other = (Moments.of(h, "low_rank") for h in (hidden, hidden[torch.tensor([3, 0, 4, 2, 1])]))
    torch.testing.assert_close(one.mu, other.mu, atol=1e-15, rtol=1e-14)
    torch.testing.assert_close(one.sigma, other.sigma, atol=1e-15, rtol=1e-14)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_equal_seeds_equal_draws_and_gamma_scales_them(covariance):
    moments = Moments.of(hidden_states(), covariance)
    one, same, other = (PromptDraw(seed, 1.0, covariance).embed(moments) for seed in (5, 5, 6))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    double = PromptDraw(5, 2.0, covariance).embed(moments)
    torch.testing.assert_close(double - moments.mu, 2 * (one - moments.mu))
    assert torch.equal(PromptDraw(5, 0.0, covariance).embed(moments), moments.mu)


def test_a_draw_needs_no_global_randomness():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    PromptDraw(5).omega((4, 3, 2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("covariance,shape", [("low_rank", (4,)), ("diagonal", (3, 2))])
def test_omega_has_the_shape_of_its_kind(covariance, shape):
    draw = PromptDraw(9, covariance=covariance)
    assert draw.omega((4, 3, 2)).shape == shape
    assert torch.equal(draw.omega((4, 3, 2)), draw.omega(Moments.of(torch.zeros(4, 3, 2), covariance)))


def test_a_draw_survives_json_and_is_hashable():
    draw = PromptDraw(seed=2**32 - 1, gamma=0.5, covariance="diagonal")
    shape = (4, 3, 2)
    recorded = json.loads(json.dumps(draw.to_dict(shape)))
    assert PromptDraw.from_dict(recorded, shape) == draw
    assert len({draw, PromptDraw.from_dict(draw.to_dict())}) == 1
    assert recorded["omega_sha256"] == draw.omega_sha256(shape) != PromptDraw(1, 0.5, "diagonal").omega_sha256(shape)


def test_an_omega_other_than_the_recorded_one_is_refused():
    recorded = PromptDraw(4).to_dict((4, 3, 2)) | {"seed": 5}
    with pytest.raises(UserError, match="not the recorded one"):
        PromptDraw.from_dict(recorded, (4, 3, 2))


@pytest.mark.parametrize("value", [{}, {"seed": "x", "gamma": 1, "covariance": "low_rank"}, {"seed": None, "gamma": 1}])
def test_a_broken_record_is_one_line(value):
    with pytest.raises(UserError, match="recorded draw"):
        PromptDraw.from_dict(value)


@pytest.mark.parametrize(
    "arguments", [(-1,), (2**32,), (0, float("nan")), (0, float("inf")), (0, -1.0), (0, 1.0, "full")], ids=str
)
def test_values_out_of_range_are_refused(arguments):
    with pytest.raises(UserError):
        PromptDraw(*arguments)


def test_a_draw_of_the_other_kind_is_refused():
    with pytest.raises(UserError, match="the draw is diagonal, the distribution low_rank"):
        PromptDraw(0, covariance="diagonal").embed(Moments.of(hidden_states(), "low_rank"))
