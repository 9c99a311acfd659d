"""RePaint's walk: its length is what the cost plan promises, and it never loses its way."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segsmith_shared.plans.jump_schedule import count_evaluations, jump_moves

PUBLISHED = [(200, 10, 5, 960), (200, 10, 10, 1910), (250, 10, 10, 2410), (100, 10, 5, 460), (50, 10, 5, 210)]
SETTINGS = {"steps": st.integers(2, 120), "jump_length": st.integers(1, 30), "visits": st.integers(1, 6)}


@pytest.mark.parametrize(("steps", "jump_length", "visits", "evaluations"), PUBLISHED)
def test_the_five_known_settings_take_their_known_evaluations(
    steps: int, jump_length: int, visits: int, evaluations: int
) -> None:
    kinds = Counter(move.kind for move in jump_moves(steps, jump_length, visits))
    assert kinds == {"denoise": evaluations, "renoise": evaluations - steps}


def test_the_papers_walk_visits_inner_levels_five_times_and_the_ends_once() -> None:
    visits = Counter(move.level for move in jump_moves(200, 10, 5) if move.kind == "denoise")
    assert {level for level, count in visits.items() if count == 1} == {0, *range(191, 200)}
    assert {count for level, count in visits.items() if 1 <= level <= 190} == {5}


@given(**SETTINGS)
def test_every_walk_is_unbroken_and_as_long_as_planned(steps: int, jump_length: int, visits: int) -> None:
    here, evaluations = steps - 1, 0
    for move in jump_moves(steps, jump_length, visits):
        assert move.level == here
        assert 0 <= here < steps
        here += 1 if move.kind == "renoise" else -1
        evaluations += move.kind == "denoise"
    assert here == -1
    assert evaluations == count_evaluations(steps, jump_length, visits)
