"""One draw: its omega, its record, its refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import Moments, PromptDraw
from dreamdist3d.prompts.moments import COVARIANCES


def hidden_states(count=5, length=3, width=2, dtype=torch.float64):
    return torch.randn(count, length, width, generator=torch.Generator().manual_seed(1), dtype=dtype)


def moments_of(covariance, **sizes):
    return Moments.of(hidden_states(**sizes), covariance)


def test_one_low_rank_draw_is_the_formula():
    hidden = hidden_states(dtype=torch.float32)
    moments = Moments.of(hidden, "low_rank")
    draw = PromptDraw(seed=11, gamma=0.7)
    w = draw.omega(moments).numpy()
    mu = hidden.numpy().mean(0)
    expected = mu + 0.7 * sum(w[k] * (hidden.numpy()[k] - mu) for k in range(5)) / np.sqrt(4)
    np.testing.assert_allclose(draw.embed(moments), expected, atol=1e-6)


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
    PromptDraw(5).omega(moments_of("low_rank"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("covariance,shape", [("low_rank", (4,)), ("diagonal", (3, 2))])
def test_omega_has_the_shape_of_its_kind(covariance, shape):
    omega = PromptDraw(9, covariance=covariance).omega(moments_of(covariance, count=4))
    assert omega.shape == shape and omega.dtype == torch.float32


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_antithetic_twin_lies_across_the_mean(covariance):
    moments = moments_of(covariance)
    one, twin = (PromptDraw(5, 1.5, covariance, antithetic) for antithetic in (False, True))
    torch.testing.assert_close(one.embed(moments) + twin.embed(moments), 2 * moments.mu)


def test_other_words_keep_omega():
    draw = PromptDraw(5, prefix="a photo of")
    night = draw.under(suffix="at night")
    assert (night.prefix, night.suffix) == ("a photo of", "at night")
    moments = moments_of("low_rank")
    assert torch.equal(draw.omega(moments), night.omega(moments)) and draw != night


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_given_omega_is_the_draw(covariance):
    moments = moments_of(covariance)
    seeded = PromptDraw(7, 1.5, covariance)
    given = PromptDraw.of_omega(seeded.omega(moments), gamma=1.5)
    assert given.covariance == covariance and torch.equal(given.embed(moments), seeded.embed(moments))
    assert given.omega_sha256(moments) == seeded.omega_sha256(moments)
    assert PromptDraw.from_dict(json.loads(json.dumps(given.to_dict(moments))), moments) == given


def test_a_given_omega_of_another_size_is_refused():
    draw = PromptDraw.of_omega(torch.zeros(4))
    with pytest.raises(UserError, match="has 4 numbers, this distribution takes 5"):
        draw.embed(moments_of("low_rank"))


FULL = PromptDraw(2**32 - 1, 0.5, "diagonal", True, "a photo of", "at night", (0.25, 0.75), 1)


@pytest.mark.parametrize(
    "draw", [PromptDraw(3), FULL, replace(FULL, component=0), PromptDraw.of_omega(torch.ones(3, 2))], ids=str
)
def test_a_draw_survives_json_and_is_hashable(draw):
    assert len({draw, PromptDraw.from_dict(json.loads(json.dumps(draw.to_dict())))}) == 1


def test_the_record_proves_omega():
    moments = moments_of("diagonal")
    recorded = PromptDraw(4, covariance="diagonal").to_dict(moments)
    assert recorded["omega_sha256"] != PromptDraw(5, covariance="diagonal").omega_sha256(moments)
    with pytest.raises(UserError, match="not the recorded one"):
        PromptDraw.from_dict(recorded | {"seed": 5}, moments)


@pytest.mark.parametrize("change", [{"weights": 3}, {"given": "abc"}, {"gamma": "much"}, {"seed": "x"}, {"sed": 1}])
def test_an_odd_entry_is_one_line(change):
    with pytest.raises(UserError, match="the recorded draw: "):
        PromptDraw.from_dict(PromptDraw(3).to_dict() | change)


@pytest.mark.parametrize(
    "values",
    [
        {"seed": -1},
        {"seed": 2**32},
        {"gamma": float("nan")},
        {"gamma": float("inf")},
        {"gamma": -1.0},
        {"covariance": "full"},
        {"seed": None},
        {"given": (1.0,)},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(UserError):
        PromptDraw(**{"seed": 0} | values)
    assert replace(PromptDraw(0), seed=1).seed == 1


def test_a_draw_of_the_other_kind_is_refused():
    with pytest.raises(UserError, match="the draw is diagonal, the distribution low_rank"):
        PromptDraw(0, covariance="diagonal").embed(Moments.of(hidden_states(), "low_rank"))


@pytest.mark.parametrize("covariance", ["low_rank", "diagonal"])
def test_a_prompt_that_is_not_finite_is_refused(covariance):
    moments = moments_of(covariance, dtype=torch.float32)
    with pytest.raises(UserError, match="draw 3 at gamma 1e\\+308 holds numbers that are not finite"):
        PromptDraw(3, 1e308, covariance).embed(moments)
