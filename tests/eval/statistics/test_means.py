import itertools

import pytest
import torch

from dreamdist3d.eval.diversity import matched_view_similarity, mean_pairwise_similarity
from dreamdist3d.eval.statistics import AssetMean, PairMean, cross_similarity, matched_similarity, pooled_similarity


def features(assets: int, views: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(assets, views, 6, generator=generator, dtype=torch.float64) + 0.3


def full(mean) -> float:
    return float(mean.weighted(torch.ones(1, mean.assets)))


@pytest.mark.parametrize("views", [1, 4])
def test_full_sets_give_the_plain_scores(views):
    stack = features(5, views)
    assert full(matched_similarity(stack)) == pytest.approx(matched_view_similarity(stack), abs=1e-12)
    assert full(pooled_similarity(stack)) == pytest.approx(mean_pairwise_similarity(stack.flatten(0, 1)), abs=1e-12)
    assert full(AssetMean(stack[:, 0, 0])) == pytest.approx(float(stack[:, 0, 0].mean()), abs=1e-12)


def test_cross_similarity_leaves_out_pairs_inside_an_asset():
    unit = torch.nn.functional.normalize(features(4, 3), dim=-1)
    pairs = [float(x @ y) for a, b in itertools.combinations(unit, 2) for x in a for y in b]
    assert full(cross_similarity(features(4, 3))) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


def test_copies_of_an_asset_are_no_pair():
    """Counted twice, an asset pairs twice with each other and its views twice among themselves, never with itself."""
    stack = features(4, 3)
    drawn = [0, 0, 2, 3, 3, 3]
    unit = torch.nn.functional.normalize(stack, dim=-1)
    values = []
    for (i, a), (j, b) in itertools.combinations([(n, a) for n, a in enumerate(drawn)], 2):
        assert i != j
        if a != b:
            values += [float(x @ y) for x in unit[a] for y in unit[b]]
    for a in drawn:
        values += [float(x @ y) for x, y in itertools.combinations(unit[a], 2)]
    counts = torch.bincount(torch.tensor(drawn), minlength=4)[None]
    assert float(pooled_similarity(stack).weighted(counts)) == pytest.approx(sum(values) / len(values), abs=1e-12)


def test_one_asset_alone_has_no_mean_over_pairs():
    mean = PairMean(torch.ones(3, 3))
    assert torch.isnan(mean.weighted(torch.tensor([[3, 0, 0]]))).all()
