"""Intervals over assets hold the truth about as often as they say."""

import math

import pytest
import torch
from scipy import stats

from dreamdist3d.eval.diversity import nearest_neighbours, similarity_matrix, vendi_score
from dreamdist3d.eval.fidelity.manifold import inside_balls
from dreamdist3d.eval.measure import vendi_estimate
from dreamdist3d.eval.statistics import (
    AssetMean,
    Estimate,
    PairMean,
    jackknife,
    jackknife_mean,
    matched_similarity,
    mean_of,
    pooled_similarity,
    share_of,
)

SIZES = (4, 8, 16, 24)
REFERENCES = torch.randn(20, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assets(count: int, generator: torch.Generator) -> torch.Tensor:
    """[A, 2, 8]: assets around a common direction, and views around their asset."""
    own = torch.randn(count, 1, 8, generator=generator, dtype=torch.float64) + 0.5
    return own + 0.5 * torch.randn(count, 2, 8, generator=generator, dtype=torch.float64)


def nearest(matrix: torch.Tensor) -> float:
    return float(nearest_neighbours(matrix).distance.mean())


def of_nearest(features: torch.Tensor) -> Estimate:
    matrix = similarity_matrix(features)
    return jackknife(lambda index: nearest(matrix[index][:, index]), len(features), 0.0, 2.0)


def spread(features: torch.Tensor) -> float:
    return float(features[:, 0, :3].var(dim=0).mean().sqrt())


def hits(features: torch.Tensor) -> torch.Tensor:  # bool [R, A V]
    return inside_balls(REFERENCES, features.flatten(0, 1))


def of_share(dimension: int):
    return lambda features: share_of(float(hits(features).any(dim=dimension).double().mean()), len(features))


# Every kind of statistic that a report has.
KINDS = {
    "asset mean": lambda features: jackknife_mean(AssetMean(features[:, :, 0].mean(dim=1))),
    "matched pairs": lambda features: jackknife_mean(matched_similarity(features), -1.0, 1.0),
    "pooled pairs": lambda features: jackknife_mean(pooled_similarity(features), -1.0, 1.0),
    "Vendi": lambda features: vendi_estimate(similarity_matrix(features)),
    "nearest": of_nearest,
    "spread": lambda features: jackknife(lambda index: spread(features[index]), len(features), 0.0),
    "precision": of_share(0),
    "coverage": of_share(1),
}


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_cover_what_they_say(kind: str, count: int) -> None:
    estimate, trials = KINDS[kind], 120
    generator = seeded(count)
    found = [estimate(assets(count, generator)) for _ in range(trials)]
    truth = sum(one.value for one in found) / trials  # what sets of so many assets score on average
    covered = sum(one.low <= truth <= one.high for one in found)
    # Of 120 intervals that hold in 95 %, fewer than 107 do so once in a thousand.
    assert covered >= 107, covered / trials


def test_the_interval_of_a_mean_is_students() -> None:
    for count in (3, 4, 8, 24):
        values = torch.randn(count, generator=seeded(count), dtype=torch.float64)
        low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
        found = jackknife_mean(AssetMean(values))
        assert (found.low, found.high) == pytest.approx((low, high)) and found.degrees == count - 1
        by_subsets = jackknife(lambda index, values=values: float(values[index].mean()), count)
        assert by_subsets.as_dict() == pytest.approx(found.as_dict())


def test_the_interval_of_pairs_is_that_of_all_subsets_less_one() -> None:
    matrix = similarity_matrix(assets(6, seeded()))

    def mean(index: torch.Tensor) -> float:
        sub = matrix[index][:, index]
        return float(sub[torch.triu_indices(len(index), len(index), 1).unbind()].mean())

    assert jackknife_mean(PairMean(matrix)).as_dict() == pytest.approx(jackknife(mean, 6).as_dict())


def test_pictures_of_one_asset_are_no_independent_evidence() -> None:
    few = torch.randn(8, 1, 16, generator=seeded(), dtype=torch.float64)
    once, often = (jackknife_mean(matched_similarity(few.expand(8, views, 16))) for views in (1, 30))
    assert often.as_dict() == pytest.approx(once.as_dict())


def test_sets_without_spread_are_certain() -> None:
    assert jackknife_mean(PairMean(torch.eye(10))).as_dict() == {"value": 0.0, "low": 0.0, "high": 0.0}
    for kernel, value in ((torch.ones(6, 6), 1.0), (torch.eye(6), 6.0)):
        found = vendi_estimate(kernel)
        assert (found.value, found.low, found.high) == pytest.approx((value, value, value))


@pytest.mark.parametrize("count", SIZES)
def test_no_interval_leaves_the_range_of_its_score(count: int) -> None:
    generator = seeded(7)
    for _ in range(20):
        found = vendi_estimate(similarity_matrix(assets(count, generator)))
        assert 1.0 <= found.low <= found.value <= found.high <= count
    for value in (0.0, 1e-12, 0.03, 0.5, 1.0 - 1e-12, 1.0):
        found = share_of(value, count)
        assert 0.0 <= found.low <= value <= found.high <= 1.0 and found.high - found.low > 0.1
    wide = jackknife(lambda index: float(index.double().var().sqrt() * 9 - 8), count, 0.0, 30.0)
    assert wide.low >= 0.0 and wide.high <= 30.0
    families = mean_of([share_of(1.0, count), share_of(0.98, count), share_of(1.0, count)])
    assert 0.0 <= families.low <= families.value <= families.high <= 1.0


def test_the_share_is_wilsons_with_t_for_z() -> None:
    found, reach = share_of(0.7, 10), stats.t.ppf(0.975, 9)
    for end in (found.low, found.high):  # where the score test just holds
        assert abs(0.7 - end) / math.sqrt(end * (1 - end) / 10) == pytest.approx(reach)


def test_too_few_assets_have_a_value_without_an_interval() -> None:
    pair = jackknife_mean(matched_similarity(torch.eye(2)[:, None]))
    assert pair.as_dict() == {"value": 0.0, "low": None, "high": None}
    kernel = similarity_matrix(torch.eye(2)[:, None])
    assert vendi_estimate(kernel).low is None and vendi_estimate(kernel).value == pytest.approx(vendi_score(kernel))
    assert share_of(0.5, 2).low is None
    with pytest.raises(ValueError, match="too few"):
        jackknife_mean(PairMean(torch.ones(1, 1)))
    assert jackknife(lambda index: float("nan") if len(index) < 5 else 1.0, 5).as_dict()["low"] is None


def test_the_mean_over_families_adds_errors_in_squares() -> None:
    values = [torch.randn(12, generator=seeded(seed), dtype=torch.float64) for seed in range(2)]
    together = mean_of([jackknife_mean(AssetMean(one)) for one in values])
    welch = stats.ttest_ind(values[0], -values[1], equal_var=False).confidence_interval(0.95)
    assert (together.low, together.high) == pytest.approx((welch.low / 2, welch.high / 2))
    assert mean_of([jackknife_mean(AssetMean(values[0])), Estimate(1.0)]).low is None
    with pytest.raises(ValueError, match="no estimates"):
        mean_of([])
