"""KID equals torchmetrics', is unbiased at small n, and its interval covers."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.image.kid import KernelInceptionDistance, poly_mmd

from segsmith_evaluator.metrics.kid import kid, kid_figure
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.vision.features import Interrupted

Features = NDArray[np.float64]


def features(count: int, seed: int, shift: float = 0.0, dimension: int = 32) -> Features:
    return np.random.default_rng(seed).normal(size=(count, dimension)) + shift


def test_it_equals_torchmetrics_polynomial_distance() -> None:
    first, second = features(60, 1), features(60, 2, 0.3)
    theirs = poly_mmd(torch.from_numpy(first), torch.from_numpy(second)).item()
    assert kid(first, second) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
def test_the_mean_over_whole_subsets_equals_torchmetrics_metric() -> None:
    class Flat(torch.nn.Module):
        num_features = 32

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values.reshape(len(values), -1)

    metric = KernelInceptionDistance(feature=Flat(), subsets=3, subset_size=40).set_dtype(torch.float64)
    first, second = features(40, 1), features(40, 2, 0.3)
    metric.update(torch.from_numpy(first), real=True)
    metric.update(torch.from_numpy(second), real=False)
    assert kid(first, second) == pytest.approx(metric.compute()[0].item(), rel=1e-5)


def test_sets_of_different_sizes_are_compared_whole() -> None:
    first, second = features(30, 1), features(50, 2)
    kernel = (first @ second.T / 32 + 1) ** 3
    within = [(each @ each.T / 32 + 1) ** 3 for each in (first, second)]
    means = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in within]
    assert kid(first, second) == pytest.approx(sum(means) - 2 * kernel.mean(), rel=1e-9)


def test_between_sets_of_one_kind_it_scatters_around_zero_even_at_small_n() -> None:
    values = [kid(features(12, 2 * trial), features(12, 2 * trial + 1)) for trial in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


def test_the_interval_covers_the_true_distance_about_as_often_as_it_says() -> None:
    true = np.mean([kid(features(200, 2 * i, dimension=8), features(200, 2 * i + 1, 0.5, 8)) for i in range(200)])
    covered = 0
    for trial in range(100):
        first, second = features(60, 5000 + trial, dimension=8), features(60, 9000 + trial, 0.5, 8)
        figure = kid_figure(first, second, seed=trial, subsets=60)
        assert figure.low is not None
        assert figure.high is not None
        covered += int(figure.low <= true <= figure.high)
    assert covered >= 85


def test_the_figure_repeats_with_its_seed_and_says_how_it_was_measured() -> None:
    first, second = features(30, 1), features(20, 2, 0.3)
    figure = kid_figure(first, second, seed=1)
    assert figure == kid_figure(first, second, seed=1)
    assert figure.value == kid(first, second)
    assert (figure.n, figure.detail["subset_images"], figure.detail["subsets"]) == (20, 10, 100)
    assert figure.detail["subset_mean"] == pytest.approx(figure.value, abs=3 * float(figure.detail["standard_error"]))


def test_every_subset_is_drawn_from_both_sets_and_compared_by_the_same_formula() -> None:
    first, second = features(30, 1), features(21, 2, 0.3)
    figure = kid_figure(first, second, seed=9, subsets=1)
    rng = numpy_generator_for(9, "kid-subset", 0)
    rows, columns = rng.choice(30, 10, replace=False), rng.choice(21, 10, replace=False)
    assert figure.detail["subset_mean"] == pytest.approx(kid(first[rows], second[columns]), rel=1e-9)
    assert figure.detail["subset_deviation"] == 0.0  # of one subset there is none
    error = abs(float(figure.detail["subset_mean"]) - figure.value) * np.sqrt(10 / 11)
    assert figure.detail["standard_error"] == pytest.approx(error, rel=1e-9)


def test_the_interval_is_the_normal_one_of_95_percent() -> None:
    figure = kid_figure(features(30, 1), features(20, 2, 0.3), seed=1, subsets=5)
    reach = 1.959964 * float(figure.detail["standard_error"])
    assert (figure.low, figure.high) == pytest.approx((figure.value - reach, figure.value + reach), rel=1e-9)


def test_two_subsets_have_a_deviation_and_are_counted_one_by_one() -> None:
    steps: list[tuple[int, int]] = []
    figure = kid_figure(features(9, 1), features(9, 2), seed=1, subsets=2, on_step=lambda *step: steps.append(step))
    assert steps == [(1, 2), (2, 2)]
    values = []
    for subset in range(2):
        rng = numpy_generator_for(1, "kid-subset", subset)
        rows, columns = rng.choice(9, 4, replace=False), rng.choice(9, 4, replace=False)
        values.append(kid(features(9, 1)[rows], features(9, 2)[columns]))
    assert figure.detail["subset_deviation"] == pytest.approx(abs(values[0] - values[1]) / np.sqrt(2))


def test_a_caller_can_stop_between_subsets() -> None:
    with pytest.raises(Interrupted):
        kid_figure(features(9, 1), features(9, 2), seed=1, on_step=lambda done, _: done == 3)


def test_subsets_hold_1000_images_at_most() -> None:
    figure = kid_figure(features(2100, 1, dimension=2), features(2100, 2, dimension=2), seed=1, subsets=1)
    assert figure.detail["subset_images"] == 1000


def test_four_images_are_enough_and_three_too_few() -> None:
    assert kid_figure(features(4, 1), features(4, 2), seed=0, subsets=2).detail["subset_images"] == 2
    with pytest.raises(ValueError, match="4 images"):
        kid_figure(features(3, 1), features(10, 2), seed=0)
