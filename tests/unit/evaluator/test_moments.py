"""Moments of shards, merged in any order and of any sizes, are those of the whole set, and so is their FID."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segsmith_evaluator.metrics.fid import fid, fid_of_moments
from segsmith_evaluator.metrics.moments import Moments, merged

Features = NDArray[np.float64]
COUNT, DIMENSION = 120, 6


def features(seed: int, dimension: int = DIMENSION) -> Features:
    """Far from zero, where differences of large sums would lose their digits."""
    rng = np.random.default_rng(seed)
    spread: Features = rng.normal(size=(COUNT, dimension)) * np.linspace(0.3, 2, dimension) + 1000
    return spread


def in_shards(whole: Features, cuts: list[int], order: int) -> Moments:
    shards = np.split(whole, sorted(cuts))
    shuffled = np.random.default_rng(order).permutation(len(shards))
    return reduce(merged, (Moments.of(shards[place]) for place in shuffled), None)  # type: ignore[return-value]


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, COUNT - 1), min_size=1, max_size=6, unique=True),
    order=st.integers(0, 99),
    seed=st.integers(0, 99),
)
def test_any_split_in_any_order_gives_the_moments_and_the_distance_of_all(
    cuts: list[int], order: int, seed: int
) -> None:
    whole, other = features(seed), features(seed + 1000) * 1.1
    found = in_shards(whole, cuts, order)
    assert found.count == COUNT
    np.testing.assert_allclose(found.mean, whole.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(whole, rowvar=False), rtol=1e-9, atol=1e-9)
    assert fid_of_moments(found, Moments.of(other)) == pytest.approx(fid(whole, other), rel=1e-9)


@pytest.mark.parametrize("dimension", [COUNT // 4, 2 * COUNT])
def test_shards_of_a_single_picture_are_exact_with_more_and_with_fewer_pictures_than_dimensions(dimension: int) -> None:
    whole, other = features(1, dimension), features(2, dimension)
    found = in_shards(whole, list(range(1, COUNT)), order=3)
    assert fid_of_moments(found, Moments.of(other)) == pytest.approx(fid(whole, other), rel=1e-9)


def test_features_of_single_precision_are_summed_in_double() -> None:
    whole = features(1).astype(np.float32)
    found = in_shards(whole, [7, 50], order=1)  # type: ignore[arg-type]  # single precision, as networks give it
    np.testing.assert_allclose(found.covariance, np.cov(whole.astype(np.float64), rowvar=False), rtol=1e-9, atol=1e-9)


def test_an_empty_shard_is_refused() -> None:
    with pytest.raises(ValueError, match="no features"):
        Moments.of(np.empty((0, DIMENSION)))


def test_a_hole_in_a_shard_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Moments.of(np.full((3, DIMENSION), np.nan))


def test_one_picture_has_no_covariance_and_no_distance() -> None:
    single = Moments.of(features(1)[:1])
    with pytest.raises(ValueError, match="no covariance"):
        _ = single.covariance
    with pytest.raises(ValueError, match="two images"):
        fid_of_moments(single, Moments.of(features(2)))
