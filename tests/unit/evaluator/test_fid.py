"""FID is exact at full rank and at small n, its parts merge, and its interval covers what it says."""

import numpy as np
import pytest
from cleanfid.fid import frechet_distance
from numpy.typing import NDArray

from segsmith_evaluator.metrics.fid import fid, fid_figure, fid_figure_of_all, fid_of_moments, rank_note
from segsmith_evaluator.metrics.figures import Figure
from segsmith_evaluator.metrics.moments import Moments
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.vision.features import Interrupted

Features = NDArray[np.float64]


def gaussian(count: int, dimension: int, seed: int, shift: float = 0.0) -> Features:
    """Correlated features of uneven spread, as a network's are."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(dimension, dimension)) / np.sqrt(dimension)
    spread: Features = rng.normal(size=(count, dimension)) * np.linspace(0.2, 2, dimension)
    mixed: Features = spread @ mixing + shift
    return mixed


def clean_fid(first: Features, second: Features) -> float:
    statistics = [(each.mean(axis=0), np.cov(each, rowvar=False)) for each in (first, second)]
    return float(frechet_distance(*statistics[0], *statistics[1]))


@pytest.mark.filterwarnings("ignore:.*disp.*:DeprecationWarning")
@pytest.mark.parametrize("counts", [(400, 400), (300, 700)])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_at_full_rank_it_equals_clean_fid(counts: tuple[int, int], shift: float) -> None:
    first, second = gaussian(counts[0], 64, 1), gaussian(counts[1], 64, 2, shift)
    assert fid(first, second) == pytest.approx(clean_fid(first, second), rel=1e-3)


def test_between_known_gaussians_it_is_the_closed_form() -> None:
    """Diagonal covariances, made exact by construction: |Δμ|² + Σ (σ₁ − σ₂)²."""
    base = np.concatenate([np.eye(6), -np.eye(6)]) * np.sqrt(11 / 2)
    spread_1, spread_2 = np.linspace(1, 2, 6), np.linspace(3, 1, 6)
    expected = 6 * 0.5**2 + ((spread_1 - spread_2) ** 2).sum()
    assert fid(base * spread_1, base * spread_2 + 0.5) == pytest.approx(expected, rel=1e-12)


def test_with_fewer_images_than_dimensions_it_equals_the_moments_way() -> None:
    first, second = gaussian(20, 64, 1), gaussian(25, 64, 2)
    assert fid(first, second) == pytest.approx(fid_of_moments(Moments.of(first), Moments.of(second)), rel=1e-9)


def test_it_is_zero_between_a_set_and_itself_and_symmetric() -> None:
    first, second = gaussian(50, 32, 1), gaussian(60, 32, 2)
    assert fid(first, first) == pytest.approx(0, abs=1e-9)
    assert fid(first, second) == pytest.approx(fid(second, first), rel=1e-12)


def test_of_whole_sets_the_value_is_exact_and_the_interval_narrows_with_all_their_images() -> None:
    first, second = gaussian(900, 8, 1), gaussian(1600, 8, 2, 0.4)
    drawn = fid_figure(first[:100], second[:100], seed=3, samples=60)
    figure = fid_figure_of_all(drawn, Moments.of(first), Moments.of(second))
    assert figure.value == pytest.approx(fid(first, second), rel=1e-9)
    assert (figure.n, figure.detail["interval_images"], figure.detail["n_second"]) == (900, 100, 1600)
    assert None not in (drawn.low, drawn.high, figure.low, figure.high)
    assert figure.low < figure.value < figure.high  # type: ignore[operator]  # numbers, as just asserted
    assert figure.high - figure.low == pytest.approx((drawn.high - drawn.low) / 3)  # type: ignore[operator]


def test_an_interval_that_is_moved_to_whole_sets_ends_at_zero_and_keeps_what_lies_above() -> None:
    whole = Moments.of(gaussian(400, 4, 1)), Moments.of(gaussian(400, 4, 2))
    value = fid_of_moments(*whole)
    figure = fid_figure_of_all(Figure(value=5.0, low=1.0, high=5.5, n=100), *whole)
    assert figure.low == 0.0  # value − 4/2
    assert figure.high == pytest.approx(value + 0.25)
    for drawn in (Figure(value=5.0, low=1.0, n=100), Figure(value=5.0, high=6.0, n=100)):
        assert (fid_figure_of_all(drawn, *whole).low, fid_figure_of_all(drawn, *whole).high) == (None, None)


def test_rounding_makes_no_distance_negative() -> None:
    for seed in range(40):
        features = gaussian(30, 6, seed)
        assert fid(features, features) >= 0
        assert fid_of_moments(Moments.of(features), Moments.of(features)) >= 0


def test_two_hundred_sets_are_redrawn_unless_told_otherwise() -> None:
    assert fid_figure(gaussian(6, 2, 1), gaussian(6, 2, 2), seed=0).detail["bootstrap_samples"] == 200


def test_the_interval_repeats_with_its_seed_and_holds_the_estimate() -> None:
    first, second = gaussian(40, 16, 1), gaussian(40, 16, 2, 0.2)
    figure = fid_figure(first, second, seed=5, samples=50)
    assert figure == fid_figure(first, second, seed=5, samples=50)
    assert figure != fid_figure(first, second, seed=6, samples=50)
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < figure.value < figure.high
    assert figure.value == fid(first, second)
    assert figure.detail["bootstrap_bias"] > 0  # type: ignore[operator]  # a number here


def test_the_interval_covers_the_mean_distance_at_this_n_about_as_often_as_it_says() -> None:
    expected = np.mean([fid(gaussian(60, 4, 2 * i), gaussian(60, 4, 2 * i + 1, 0.4)) for i in range(400)])
    covered = 0
    for trial in range(60):
        figure = fid_figure(
            gaussian(60, 4, 10_000 + trial), gaussian(60, 4, 20_000 + trial, 0.4), seed=trial, samples=100
        )
        assert figure.low is not None
        assert figure.high is not None
        covered += int(figure.low <= expected <= figure.high)
    assert covered >= 50


def test_the_interval_is_that_of_redrawn_sets_moved_to_the_estimate() -> None:
    first, second = gaussian(12, 4, 1), gaussian(9, 4, 2, 2.0)
    drawn = []
    for sample in range(40):
        rng = numpy_generator_for(5, "fid-bootstrap", sample)
        drawn.append(fid(first[rng.integers(12, size=12)], second[rng.integers(9, size=9)]))
    figure = fid_figure(first, second, seed=5, samples=40)
    bias = np.mean(drawn) - fid(first, second)
    assert (figure.low, figure.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975]) - bias), rel=1e-9)
    assert figure.detail["bootstrap_bias"] == pytest.approx(bias, rel=1e-9)


def test_no_interval_reaches_below_zero() -> None:
    figure = fid_figure(gaussian(8, 4, 1), gaussian(8, 4, 1), seed=0, samples=20)
    assert figure.low == 0.0
    assert figure.value == pytest.approx(0, abs=1e-9)


def test_draws_are_counted_one_by_one() -> None:
    steps: list[tuple[int, int]] = []
    fid_figure(gaussian(6, 2, 1), gaussian(6, 2, 2), seed=0, samples=3, on_step=lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_no_interval_is_made_up_without_samples() -> None:
    figure = fid_figure(gaussian(10, 4, 1), gaussian(12, 4, 2), seed=0, samples=0)
    assert (figure.low, figure.high, figure.n) == (None, None, 10)
    assert figure.detail == {"n_first": 10, "n_second": 12, "dimension": 4, "bootstrap_samples": 0}
    whole = fid_figure_of_all(figure, Moments.of(gaussian(30, 4, 1)), Moments.of(gaussian(20, 4, 2)))
    assert (whole.low, whole.high, whole.n) == (None, None, 20)


def test_two_images_are_enough_and_one_too_few() -> None:
    one, two = gaussian(1, 3, 1), gaussian(2, 3, 1)
    assert fid(two, gaussian(2, 3, 2)) > 0
    assert fid_of_moments(Moments.of(two), Moments.of(gaussian(2, 3, 2))) > 0
    with pytest.raises(ValueError, match="two images"):
        fid(one, two)
    with pytest.raises(ValueError, match="two images"):
        fid_of_moments(Moments.of(two), Moments.of(one))


@pytest.mark.parametrize("count", [2, 5, 6, 7, 40])
def test_both_ways_agree_around_the_number_of_dimensions(count: int) -> None:
    """Of 5 dimensions, so that the covariance lacks rank, has it just so, and has it."""
    first, second = gaussian(count, 5, 1), gaussian(count, 5, 2, 0.5)
    assert fid(first, second) == pytest.approx(fid_of_moments(Moments.of(first), Moments.of(second)), rel=1e-7)


def test_features_that_lie_in_a_plane_give_the_distance_within_it() -> None:
    first, second = gaussian(40, 2, 1), gaussian(40, 2, 2, 0.5)
    flat = [np.concatenate([each, np.zeros((40, 30))], axis=1) for each in (first, second)]
    by_moments = fid_of_moments(Moments.of(flat[0]), Moments.of(flat[1]))
    assert by_moments == pytest.approx(fid(first, second), rel=1e-7)
    assert fid(*flat) == pytest.approx(fid(first, second), rel=1e-7)


def test_a_caller_can_stop_between_draws() -> None:
    with pytest.raises(Interrupted):
        fid_figure(gaussian(10, 4, 1), gaussian(10, 4, 2), seed=0, on_step=lambda done, _: done == 3)


def test_the_note_on_rank_appears_exactly_where_the_covariance_is_deficient() -> None:
    note = rank_note(348, 2048)
    assert note is not None
    assert "n = 348" in note
    assert "rank 347" in note
    assert rank_note(2048, 2048) is not None
    assert rank_note(2049, 2048) is None


@pytest.mark.parametrize("bad", [np.ones((1, 3)), np.full((4, 3), np.nan)])
def test_sets_without_a_spread_or_with_holes_are_refused(bad: Features) -> None:
    with pytest.raises(ValueError, match=r"two images|finite"):
        fid(bad, np.eye(3))
