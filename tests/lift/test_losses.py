"""The regularisers in closed form."""

import math

import pytest
import torch

from dreamdist3d.lift import Field
from dreamdist3d.lift.config import LossConfig
from dreamdist3d.lift.losses import _FOG_DENSITY as D0, entropy, fog, regularisers
from dreamdist3d.lift.render import Rendering
from tests.lift.fakes import SMALL

OPACITY = torch.tensor([[[0.0, 0.25], [0.5, 1.0]]])


def test_fog():
    """The skipped samples count as empty; solid matter pays hardly more than a wall of smoke."""
    density = torch.tensor([0.0, 1.0, 3.0])
    expected = D0 * (math.log(1 + 1 / D0) + math.log(1 + 3 / D0)) / 8
    assert float(fog(density, 8)) == pytest.approx(expected)
    assert float(fog(density, 8)) == pytest.approx(float(fog(torch.cat([density, torch.zeros(5)]), 8)))
    thin, solid = torch.full((100,), 0.5), torch.tensor([50.0])  # the same matter
    assert fog(thin, 200) > 5 * fog(solid, 200)


def test_entropy():
    inner = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) + math.log(2)
    assert float(entropy(OPACITY)) == pytest.approx(inner / 4, abs=1e-3)
    grid = torch.linspace(0, 1, 101)
    values = torch.stack([entropy(o[None]) for o in grid])
    assert int(values.argmax()) == 50
    torch.testing.assert_close(values, values.flip(0))


def test_gradients_are_finite_where_nothing_or_all_is_seen():
    opacity = torch.tensor([0.0, 1.0, 0.5, 0.2]).requires_grad_()
    entropy(opacity).backward()
    assert opacity.grad.isfinite().all()
    assert float(opacity.grad[3]) == pytest.approx(math.log(0.8 / 0.2) / 4, rel=1e-4)
    density = torch.tensor([0.0, 4.0]).requires_grad_()
    fog(density, 10).backward()
    torch.testing.assert_close(density.grad, torch.tensor([0.1, 0.1 / (1 + 4 / D0)]))


def test_only_what_has_a_weight_is_computed():
    rendering = Rendering(torch.zeros(1, 3, 2, 2), OPACITY, torch.tensor([2.0, 3.0]), 10)
    field = Field(SMALL, torch.Generator().manual_seed(0))
    assert regularisers(LossConfig(), field, rendering) == {}
    terms = regularisers(LossConfig(fog=0.1, entropy=2.0, tv=3.0), field, rendering)
    expected = {
        "fog": fog(rendering.density, 10),
        "entropy": entropy(OPACITY),
        "tv": field.total_variation(),
    }
    assert terms.keys() == expected.keys() and all(torch.equal(terms[name], expected[name]) for name in expected)
