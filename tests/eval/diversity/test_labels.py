"""What a classifier's answers say of a set of pictures."""

import math

import pytest
import torch

from dreamdist3d.eval.diversity import inception_quality, inception_variance


def probabilities(count, classes, seed=0):
    logits = torch.randn(count, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (3 * logits).softmax(dim=1)


def test_they_are_the_entropies_of_their_definition():
    answers = probabilities(7, 5)
    entropies = [-sum(p * math.log(p) for p in row) for row in answers.tolist()]
    mean = [sum(column) / 7 for column in zip(*answers.tolist(), strict=True)]
    assert inception_quality(answers) == pytest.approx(sum(entropies) / 7)
    assert inception_variance(answers) == pytest.approx(-sum(p * math.log(p) for p in mean))


def test_their_difference_is_the_logarithm_of_the_inception_score():
    answers = probabilities(9, 4)
    divergence = (answers * (answers / answers.mean(dim=0)).log()).sum(dim=1).mean()
    assert inception_variance(answers) - inception_quality(answers) == pytest.approx(float(divergence))


def test_copies_have_no_variance_beyond_their_quality():
    answers = probabilities(1, 6).expand(8, -1)
    assert inception_variance(answers) == pytest.approx(inception_quality(answers))


@pytest.mark.parametrize("answers", [torch.ones(3, 2), torch.tensor([[1.5, -0.5]]), torch.ones(3), torch.zeros(0, 2)])
def test_what_is_no_probability_is_refused(answers):
    with pytest.raises(ValueError, match="rows of probabilities"):
        inception_quality(answers)
