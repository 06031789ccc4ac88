import numpy as np
import pytest
import torch

from dreamdist3d.eval.diversity import similarity_matrix, vendi_score


def features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_equals_the_definition_in_numpy():
    kernel = similarity_matrix(features(7, 3, 16))
    eigenvalues = np.linalg.eigvalsh(kernel.numpy() / 7)
    expected = np.exp(-np.sum(eigenvalues * np.log(eigenvalues)))
    assert vendi_score(kernel) == pytest.approx(expected, abs=1e-10)


def test_groups_of_copies_count_as_one_each():
    groups = torch.eye(3).repeat_interleave(4, dim=0)
    assert vendi_score(groups @ groups.T) == pytest.approx(3.0)


def test_the_number_of_views_does_not_matter():
    stack = features(5, 1, 8)
    assert vendi_score(similarity_matrix(stack.expand(5, 4, 8))) == pytest.approx(vendi_score(similarity_matrix(stack)))


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (torch.ones(2, 3), "symmetric"),
        (torch.tensor([[1.0, 0.5], [0.2, 1.0]]), "symmetric"),
        (torch.eye(3) * 2, "diagonal"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "negative eigenvalues"),
    ],
)
def test_what_is_no_similarity_is_refused(kernel, message):
    with pytest.raises(ValueError, match=message):
        vendi_score(kernel)
