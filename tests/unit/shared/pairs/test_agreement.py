"""The gate's threshold lets no more than the asked share of real pairs fail, and never guesses from too few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segsmith_shared.pairs.agreement import Judgement, PairAgreement, smallest_count, threshold_of


def judgement(dice: list[float], threshold: float | None) -> Judgement:
    pairs = tuple(PairAgreement(name=f"p{place}", fold=0, dice=d, iou=d / (2 - d)) for place, d in enumerate(dice))
    return Judgement(
        samples=pairs,
        real=pairs,
        folds=2,
        preset="tiny-cpu",
        side_px=48,
        stand_in=True,
        quantile=None if threshold is None else 0.05,
        threshold=threshold,
    )


@given(st.floats(0.001, 0.5), st.integers(0, 300))
def test_at_most_the_asked_share_of_another_real_pair_lies_below(quantile: float, more: int) -> None:
    """Of n + 1 pairs, each is the new one equally often: count those that would lie below the others' limit."""
    count = smallest_count(quantile) + more
    ranked = [place / count for place in range(count + 1)]
    limit = threshold_of(ranked[:count], quantile)
    failing = sum(value < limit for value in ranked[:count]) + 1  # the new one may fall below any of these
    assert failing <= quantile * (count + 1) + 1e-6


def test_a_quantile_needs_as_many_pairs_as_make_one_of_them_the_share() -> None:
    assert [smallest_count(quantile) for quantile in (0.5, 0.25, 0.1, 0.05, 0.01)] == [1, 3, 9, 19, 99]
    assert smallest_count(0.3) == 3
    with pytest.raises(ValueError, match="18 real pairs"):
        threshold_of([0.9] * 18, 0.05)


def test_one_bad_real_pair_in_forty_does_not_lower_the_threshold_and_three_do() -> None:
    good = list(np.linspace(0.8, 0.95, 40))
    assert threshold_of([*good[:39], 0.1], 0.05) > 0.75
    assert threshold_of([*good[:37], 0.1, 0.1, 0.1], 0.05) == 0.1


def test_what_equals_the_threshold_stays_and_without_one_nothing_is_below() -> None:
    assert [pair.name for pair in judgement([0.3, 0.5, 0.9], 0.5).below] == ["p0"]
    assert judgement([0.0, 0.5], None).below == ()
