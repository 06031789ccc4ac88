from dataclasses import asdict

import numpy as np
import pytest
import torch
from prdc import compute_prdc

from dreamdist3d.eval.fidelity import inside_balls, prdc


def normal(count: int, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


@pytest.mark.parametrize(("references", "pictures", "shift"), [(60, 40, 0.0), (30, 90, 0.7), (25, 25, 4.0)])
@pytest.mark.parametrize("nearest", [1, 5])
def test_equals_the_published_package(references, pictures, shift, nearest):
    real, fake = normal(references), normal(pictures, shift, seed=1)
    expected = compute_prdc(real.numpy(), fake.numpy(), nearest)
    assert asdict(prdc(real, fake, nearest)) == pytest.approx(expected, abs=1e-9)


def test_equals_the_definition_in_loops():
    real, fake = normal(12).numpy(), normal(7, 0.3, seed=2).numpy()
    inside = inside_balls(torch.from_numpy(real), torch.from_numpy(fake), 3)
    for i, reference in enumerate(real):
        radius = sorted(np.linalg.norm(real - reference, axis=1))[3]
        for j, picture in enumerate(fake):
            assert bool(inside[i, j]) == (np.linalg.norm(picture - reference) < radius)


def test_far_away_is_worth_nothing_and_a_copied_reference_little():
    far = prdc(normal(20), normal(20, 100.0, seed=1))
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)
    real = normal(40)
    copies = prdc(real, real[:1] + 1e-3 * normal(40, seed=3))
    assert copies.precision == 1 and copies.coverage < 0.5 and copies.recall < 0.1


def test_small_distances_far_from_the_origin_keep_their_digits():
    real, fake = normal(30) * 1e-4 + 100.0, normal(30, seed=1) * 1e-4 + 100.0
    shifted = prdc(real - 100.0, fake - 100.0)
    assert prdc(real, fake) == shifted and shifted.precision > 0.5


def test_too_few_have_no_kth_neighbour():
    with pytest.raises(ValueError, match="5 points have no 5-th"):
        prdc(normal(5), normal(20))
    with pytest.raises(ValueError, match="4 points have no 5-th"):
        prdc(normal(20), normal(4))
