"""Means over seeds carry an honest interval."""

import numpy as np
import pytest
from scipy import stats

from segsmith_evaluator.report.facts import Estimate


def test_the_interval_of_a_mean_is_students() -> None:
    values = [0.61, 0.72, 0.65, 0.70]
    estimate = Estimate.of_mean(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high))


def test_one_seed_has_no_interval_and_shows_no_difference() -> None:
    estimate = Estimate.of_mean([0.5])
    assert (estimate.low, estimate.high, estimate.n) == (None, None, 1)
    assert not estimate.excludes_zero


@pytest.mark.parametrize(("low", "high", "excludes"), [(0.01, 0.2, True), (-0.1, 0.2, False), (-0.2, -0.1, True)])
def test_a_difference_counts_only_where_its_interval_excludes_zero(low: float, high: float, excludes: bool) -> None:
    assert Estimate(value=(low + high) / 2, low=low, high=high, n=3).excludes_zero is excludes
