import pytest
import torch

from dreamdist3d.eval.diversity import near_duplicates, nearest_neighbours, similarity_matrix


def matrix(assets: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return similarity_matrix(torch.randn(assets, 4, 8, generator=generator))


def test_equals_the_double_loop():
    similarity = matrix(9)
    found = nearest_neighbours(similarity)
    for a in range(9):
        best = max((b for b in range(9) if b != a), key=lambda b: similarity[a, b])
        assert int(found.index[a]) == best
        assert float(found.distance[a]) == pytest.approx(1 - float(similarity[a, best]), abs=1e-12)


def test_a_copy_is_found_as_neighbour_and_as_duplicate():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(5, 2, 8, generator=generator)
    features[4] = 3 * features[1]
    similarity = similarity_matrix(features)
    found = nearest_neighbours(similarity)
    assert int(found.index[1]) == 4 and int(found.index[4]) == 1
    assert float(found.distance[1]) == pytest.approx(0.0, abs=1e-6)
    assert [(i, j) for i, j, _ in near_duplicates(similarity, 0.99)] == [(1, 4)]


def test_every_pair_is_named_once_and_the_most_alike_first():
    similarity = matrix(6)
    pairs = near_duplicates(similarity, -2.0)
    assert len(pairs) == 15 and all(i < j for i, j, _ in pairs)
    assert [value for _, _, value in pairs] == sorted((value for _, _, value in pairs), reverse=True)


def test_one_asset_has_no_neighbour():
    with pytest.raises(ValueError, match="at least two"):
        nearest_neighbours(torch.ones(1, 1))
