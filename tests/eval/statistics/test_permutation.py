import itertools

import pytest
import torch

from dreamdist3d.eval.statistics import AssetMean, PairMean, matched_similarity, paired_permutation_test


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def off_diagonal(matrix: torch.Tensor, index: list[int]) -> float:
    pairs = list(itertools.combinations(index, 2))
    return sum(float(matrix[a, b]) for a, b in pairs) / len(pairs)


def test_exact_p_of_pairs_equals_trying_every_swap_by_hand():
    joint = matched_similarity(torch.randn(10, 2, 6, generator=seeded(), dtype=torch.float64) + 0.2)
    differences = []
    for swap in itertools.product((0, 1), repeat=5):
        first = [a + 5 * s for a, s in enumerate(swap)]
        second = [a + 5 * (1 - s) for a, s in enumerate(swap)]
        differences.append(off_diagonal(joint.between, first) - off_diagonal(joint.between, second))
    test = paired_permutation_test([joint], seeded())
    assert test.is_exact and test.permutations == 32
    assert test.difference == pytest.approx(differences[0], abs=1e-12)
    expected = sum(abs(d) >= abs(differences[0]) - 1e-12 for d in differences) / 32
    assert test.p_value == pytest.approx(expected)


def test_drawn_p_agrees_with_the_exact_one():
    values = AssetMean(torch.randn(24, generator=seeded(3), dtype=torch.float64))
    exact = paired_permutation_test([values], seeded())
    drawn = paired_permutation_test([values], seeded(), permutations=4000)
    assert exact.is_exact and not drawn.is_exact and drawn.permutations == 4000
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.03)


def test_a_difference_in_every_pair_is_seen_although_pairs_differ_more():
    base = torch.randn(12, generator=seeded(), dtype=torch.float64) * 10
    test = paired_permutation_test([AssetMean(torch.cat([base + 0.1, base]))], seeded())
    assert test.difference == pytest.approx(0.1)
    assert test.p_value == pytest.approx(2 / 4096)


def test_equal_sets_are_never_significant():
    same = matched_similarity(torch.randn(6, 1, 4, generator=seeded()).repeat(2, 1, 1))
    assert paired_permutation_test([same], seeded()).p_value == 1.0


def test_p_is_uniform_where_the_methods_are_alike():
    generator = seeded(7)
    values = [AssetMean(torch.randn(20, generator=generator)) for _ in range(200)]
    small = sum(paired_permutation_test([v], generator, permutations=199).p_value <= 0.1 for v in values)
    assert 8 <= small <= 34  # 20 expected


def test_groups_are_averaged_and_swapped_within():
    groups = [AssetMean(torch.randn(8, generator=seeded(s), dtype=torch.float64)) for s in range(3)]
    test = paired_permutation_test(groups, seeded())
    expected = sum(float(g.values[:4].mean() - g.values[4:].mean()) for g in groups) / 3
    assert test.difference == pytest.approx(expected) and test.permutations == 4096


def test_equal_seeds_give_equal_p():
    values = AssetMean(torch.randn(60, generator=seeded()))
    first, second = (paired_permutation_test([values], seeded(4)) for _ in range(2))
    assert first == second and not first.is_exact


@pytest.mark.parametrize("means", [[], [AssetMean(torch.ones(3))], [PairMean(torch.ones(2, 2))]])
def test_what_cannot_be_paired_is_refused(means):
    with pytest.raises(ValueError, match="paired test needs|too few assets"):
        paired_permutation_test(means, seeded())
