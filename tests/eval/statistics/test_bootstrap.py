import pytest
import torch

from dreamdist3d.eval.diversity import similarity_matrix, vendi_score
from dreamdist3d.eval.statistics import AssetMean, PairMean, bootstrap, bootstrap_halves, matched_similarity, mean_of


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_equal_seeds_give_equal_intervals_and_the_global_generator_is_left_alone():
    values = AssetMean(torch.randn(12, generator=seeded()))
    before = torch.random.get_rng_state()
    first, second, other = (bootstrap(values, seeded(seed)) for seed in (1, 1, 2))
    assert first.as_dict() == second.as_dict() != other.as_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.low < first.value < first.high


def test_the_interval_of_a_mean_has_the_textbook_width():
    values = torch.randn(400, generator=seeded(), dtype=torch.float64)
    estimate = bootstrap(AssetMean(values), seeded(), resamples=8000)
    width = 2 * 1.96 * float(values.std(correction=0)) / 20
    assert estimate.high - estimate.low == pytest.approx(width, rel=0.05)
    halves = bootstrap_halves(lambda index: float(values[index].mean()), 400, seeded(), -9.0, resamples=4000)
    assert halves.high - halves.low == pytest.approx(width, rel=0.08)


def test_halves_of_an_odd_number_have_the_same_width():
    values = torch.randn(9, generator=seeded(), dtype=torch.float64)
    halves = bootstrap_halves(lambda index: float(values[index].mean()), 9, seeded(), resamples=8000)
    assert float(halves.resamples.std()) == pytest.approx(float(values.std()) / 3, rel=0.05)


def test_a_set_of_orthogonal_assets_stays_at_zero():
    """Counting copies as pairs of similarity 1 would put the whole interval above the value."""
    estimate = bootstrap(PairMean(torch.eye(10)), seeded())
    assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Assets around a common direction: the true similarity of two of them is known from very many."""

    def draw(count: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randn(count, 1, 8, generator=generator, dtype=torch.float64) + 0.5

    truth = float(matched_similarity(draw(3000, seeded(99))).weighted(torch.ones(1, 3000)))
    generator = seeded(5)
    hits, trials = 0, 600
    for _ in range(trials):
        estimate = bootstrap(matched_similarity(draw(24, generator)), generator, resamples=300)
        hits += estimate.low <= truth <= estimate.high
    # 95 % within three standard errors of a count of 600: neither too narrow nor too wide.
    assert 0.923 * trials <= hits <= 0.977 * trials


def test_pictures_of_one_asset_are_no_independent_evidence():
    few = torch.randn(8, 1, 16, generator=seeded(), dtype=torch.float64)
    once = bootstrap(matched_similarity(few), seeded())
    often = bootstrap(matched_similarity(few.expand(8, 30, 16)), seeded())
    assert often.high - often.low == pytest.approx(once.high - once.low)


def test_vendi_scores_of_copies_and_of_opposites_are_certain():
    for kernel, value in ((torch.ones(6, 6), 1.0), (torch.eye(6), 6.0)):
        estimate = bootstrap_halves(lambda index, k=kernel: vendi_score(k[index][:, index]), 6, seeded())
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((value, value, value))


def test_halves_hold_every_asset_once():
    sizes = []

    def measure(index: torch.Tensor) -> float:
        assert len(index.unique()) == len(index)
        sizes.append(len(index))
        return float(index.double().mean())

    bootstrap_halves(measure, 7, seeded(), resamples=20)
    assert sizes == [7] + [3] * 20


def test_an_interval_never_leaves_the_range_of_its_score():
    """Two pairs of neighbours: a half without a pair is far from the mean of all halves, the least score is 0."""
    places = torch.tensor([0.0, 0.001, 5.0, 5.001])

    def nearest(index: torch.Tensor) -> float:
        gaps = (places[index][:, None] - places[index]).abs().fill_diagonal_(torch.inf)
        return float(gaps.min(dim=1).values.mean())

    free = bootstrap_halves(nearest, 4, seeded(), lowest=-9.0)
    assert free.low < 0 < 1 < free.high
    bounded = bootstrap_halves(nearest, 4, seeded(), highest=1.0)
    assert (bounded.value, bounded.low, bounded.high) == (free.value, 0.0, 1.0)


def test_too_few_assets_have_a_value_without_an_interval():
    pair = bootstrap(matched_similarity(torch.eye(2)[:, None]), seeded())
    assert pair.as_dict() == {"value": 0.0, "low": None, "high": None}
    kernel = similarity_matrix(torch.eye(3)[:, None])
    assert bootstrap_halves(lambda i: vendi_score(kernel[i][:, i]), 3, seeded()).low is None
    with pytest.raises(ValueError, match="too few"):
        bootstrap(PairMean(torch.ones(1, 1)), seeded())


def test_three_assets_drop_the_draws_that_hold_no_pair():
    estimate = bootstrap(PairMean(torch.tensor([[1.0, 0.1, 0.2], [0.1, 1.0, 0.3], [0.2, 0.3, 1.0]])), seeded())
    assert torch.isfinite(estimate.resamples).all() and 0 < len(estimate.resamples) < 2000


def test_the_mean_over_families_is_tighter_by_the_root_of_their_number():
    estimates = [bootstrap(AssetMean(torch.randn(50, generator=seeded(s))), seeded(s + 10)) for s in range(4)]
    together = mean_of(estimates)
    assert together.value == pytest.approx(sum(e.value for e in estimates) / 4)
    widths = torch.tensor([e.high - e.low for e in estimates])
    assert together.high - together.low == pytest.approx(float(widths.square().sum().sqrt()) / 4, rel=0.1)
    assert mean_of([*estimates, bootstrap(AssetMean(torch.ones(2)), seeded())]).low is None
    with pytest.raises(ValueError, match="no estimates"):
        mean_of([])
