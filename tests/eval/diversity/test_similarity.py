import itertools

import pytest
import torch

from dreamdist3d.eval.diversity import (
    SimilarityAccumulator,
    matched_view_similarity,
    mean_pairwise_similarity,
    similarity_matrix,
)


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.3


def brute_force(vectors: torch.Tensor) -> float:
    pairs = itertools.combinations(vectors, 2)
    values = [float(torch.dot(a / a.norm(), b / b.norm())) for a, b in pairs]
    return sum(values) / len(values)


@pytest.mark.parametrize("count", [2, 3, 17])
def test_equals_the_mean_over_all_pairs(count):
    vectors = features(count, 24)
    assert mean_pairwise_similarity(vectors) == pytest.approx(brute_force(vectors), abs=1e-9)


def test_updates_and_merges_equal_one_pass():
    vectors = features(20, 8)
    left, right = SimilarityAccumulator(), SimilarityAccumulator()
    for part in vectors[:11].split(4):
        left.update(part)
    right.update(vectors[11:])
    left.merge(right)
    left.merge(SimilarityAccumulator())
    assert left.count == 20
    assert left.compute() == pytest.approx(brute_force(vectors), abs=1e-9)


def test_merging_into_an_empty_one_does_not_tie_the_two_together():
    first, second = SimilarityAccumulator(), SimilarityAccumulator()
    second.update(features(3, 4))
    first.merge(second)
    before = second.compute()
    first.update(features(5, 4, seed=1))
    assert second.compute() == before and second.count == 3


def test_single_precision_and_lengths_do_not_matter():
    vectors = features(50, 16)
    lengths = torch.linspace(1e-3, 1e3, 50)[:, None]
    assert mean_pairwise_similarity((vectors * lengths).float()) == pytest.approx(brute_force(vectors), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_long_stream_of_nearly_the_same_is_right_to_a_millionth(dtype):
    """The worst case of single precision: every rounding falls to the same side."""
    vectors = (torch.full((3_000, 24), 0.1) + 1e-3 * features(3_000, 24).float()).to(dtype)
    unit = vectors.double() / vectors.double().norm(dim=1, keepdim=True)
    exact = (float((unit @ unit.T).sum()) - 3_000) / (3_000 * 2_999)
    assert mean_pairwise_similarity(vectors) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_lengths_whose_squares_leave_single_precision_are_right_too(scale):
    vectors = features(70, 8).float()
    assert mean_pairwise_similarity(vectors * scale) == pytest.approx(brute_force(vectors.double()), abs=1e-6)


def test_a_refused_update_leaves_no_trace():
    accumulator = SimilarityAccumulator()
    accumulator.update(features(5, 4))
    before = accumulator.compute()
    bad = features(5000, 4)
    bad[4999, 0] = float("inf")
    with pytest.raises(ValueError, match="finite"):
        accumulator.update(bad)
    assert accumulator.compute() == before and accumulator.count == 5


def test_fewer_than_two_have_no_pairs():
    assert SimilarityAccumulator().compute() is None
    assert mean_pairwise_similarity(features(1, 4)) is None
    assert matched_view_similarity(features(1, 4, 3)) is None


def test_extremes():
    assert mean_pairwise_similarity(torch.ones(5, 3)) == pytest.approx(1.0)
    assert mean_pairwise_similarity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-1.0)


def test_matched_views_compare_like_with_like():
    stack = features(6, 4, 8)
    expected = sum(brute_force(stack[:, view]) for view in range(4)) / 4
    assert matched_view_similarity(stack) == pytest.approx(expected, abs=1e-9)


def test_matrix_holds_the_matched_similarities():
    stack = features(5, 3, 8)
    matrix = similarity_matrix(stack)
    unit = stack / stack.norm(dim=-1, keepdim=True)
    assert float(matrix[1, 4]) == pytest.approx(float((unit[1] * unit[4]).sum(-1).mean()), abs=1e-12)
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(matrix.diagonal(), torch.ones(5, dtype=torch.float64))
    off_diagonal = (matrix.sum() - matrix.trace()) / 20
    assert float(off_diagonal) == pytest.approx(matched_view_similarity(stack), abs=1e-12)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(2, 3), "direction"),
        (torch.tensor([[1.0, float("nan")]]), "finite"),
        (torch.ones(3), r"\[N, D\]"),
    ],
)
def test_bad_features_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        SimilarityAccumulator().update(bad)


def test_lengths_of_features_must_agree():
    accumulator, other = SimilarityAccumulator(), SimilarityAccumulator()
    accumulator.update(features(2, 4))
    other.update(features(2, 5))
    with pytest.raises(ValueError, match="5"):
        accumulator.update(features(2, 5))
    with pytest.raises(ValueError, match="5"):
        accumulator.merge(other)


def test_an_empty_chunk_of_a_stream_adds_nothing():
    features = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    accumulator = SimilarityAccumulator()
    for part in (features[:0], features[:3], features[:0], features[3:]):
        accumulator.update(part)
    assert accumulator.count == 5 and accumulator.compute() == pytest.approx(mean_pairwise_similarity(features))
