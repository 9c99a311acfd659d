"""Randomness by position: the same place gives the same numbers, any other place gives others."""

from hypothesis import given
from hypothesis import strategies as st

from segsmith_shared.randomness import numpy_generator_for, seed_for

Place = tuple[int, str, tuple[int, ...]]
PLACES = st.tuples(st.integers(), st.text(max_size=20), st.lists(st.integers(), max_size=3).map(tuple))


@given(PLACES, PLACES)
def test_two_places_share_a_seed_only_if_they_are_the_same_place(a: Place, b: Place) -> None:
    assert (seed_for(a[0], a[1], *a[2]) == seed_for(b[0], b[1], *b[2])) == (a == b)


@given(PLACES)
def test_a_seed_fits_into_63_bits(place: Place) -> None:
    assert 0 <= seed_for(place[0], place[1], *place[2]) < 2**63


def test_a_seed_stays_the_same_across_releases() -> None:
    """Recorded once: a change would make every stored sample unrepeatable."""
    assert seed_for(7, "train-noise", 128) == 2_092_163_738_512_102_821


def test_a_generator_repeats_and_leaves_the_global_one_alone() -> None:
    first = numpy_generator_for(1, "a", 2).normal(size=4)
    assert (first == numpy_generator_for(1, "a", 2).normal(size=4)).all()
    assert (first != numpy_generator_for(1, "a", 3).normal(size=4)).any()
