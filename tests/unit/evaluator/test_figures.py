"""A figure's interval holds the truth as often as it says, whatever the distribution."""

import numpy as np
import pytest

from segsmith_evaluator.metrics.figures import median_figure
from segsmith_shared.randomness import numpy_generator_for


@pytest.mark.parametrize("count", [6, 17, 200])
def test_the_medians_interval_misses_it_in_five_of_a_hundred_trials_at_most(count: int) -> None:
    rng = numpy_generator_for(0, "median-trials", count)
    figures = [median_figure(rng.exponential(size=count)) for _ in range(600)]
    held = [figure.low <= np.log(2) <= figure.high for figure in figures if figure.low and figure.high]
    assert len(held) == 600
    assert np.mean(held) > 0.93


def test_five_values_have_a_median_and_no_interval() -> None:
    figure = median_figure(np.array([0.5, 0.1, 0.9, 0.2, 0.3]))
    assert (figure.value, figure.low, figure.high, figure.n) == (0.3, None, None, 5)
