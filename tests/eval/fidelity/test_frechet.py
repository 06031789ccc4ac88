import numpy as np
import pytest
import scipy.linalg
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.eval.fidelity import frechet_distance


def normal(count: int, scale: float, shift: float, seed: int) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + shift


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (2.0, 0.5), (0.1, 3.0)])
def test_equals_the_formula_with_a_matrix_root(scale, shift):
    first, second = normal(80, 1.0, 0.0, 0), normal(50, scale, shift, 1)
    one, two = (np.cov(part.numpy(), rowvar=False) for part in (first, second))
    root = scipy.linalg.sqrtm(one @ two).real
    mean = float((first.mean(0) - second.mean(0)).square().sum())
    expected = mean + np.trace(one + two - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_a_set_has_no_distance_to_itself():
    first = normal(40, 1.0, 0.0, 0)
    assert frechet_distance(first, first.flip(0)) == pytest.approx(0.0, abs=1e-9)


def test_gaussians_of_known_scale_come_out_at_their_distance():
    first, second = normal(60_000, 1.0, 0.0, 0), normal(60_000, 3.0, 0.0, 1)
    assert frechet_distance(first, second) == pytest.approx(6 * (3.0 - 1.0) ** 2, rel=0.02)


def test_too_few_pictures_are_refused_with_the_reason():
    with pytest.raises(UserError, match="6 pictures of 6 numbers give a covariance without full rank") as caught:
        frechet_distance(normal(100, 1, 0, 0), normal(6, 1, 0, 1))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="6 numbers and pictures 5"):
        frechet_distance(normal(100, 1, 0, 0), torch.ones(100, 5))
