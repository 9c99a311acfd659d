"""Splits keep together what belongs together, meet their shares, and repeat."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segsmith_shared.pairs.splits import (
    Member,
    PairInTwoParts,
    SplitNotPossible,
    UnknownPairNames,
    grouped_by_prefix,
    split_by_fractions,
    split_by_names,
)

members_strategy = st.lists(st.none() | st.integers(0, 8), min_size=12, max_size=60).map(
    lambda groups: [Member(f"p{index}", group) for index, group in enumerate(groups)]
)


def singles(count: int) -> list[Member]:
    return [Member(f"p{index:03d}") for index in range(count)]


@settings(deadline=None)
@given(members_strategy, st.integers(0, 99))
def test_a_group_is_never_torn_and_nobody_is_lost(members: list[Member], seed: int) -> None:
    try:
        parts = split_by_fractions(members, {"train": 0.7, "test": 0.3}, seed).parts
    except SplitNotPossible:
        assert len({m.group for m in members if m.group is not None}) + sum(m.group is None for m in members) < 3
        return
    placed = {name: part for part, names in parts.items() for name in names}
    assert sorted(placed) == sorted(member.name for member in members)
    for group in {m.group for m in members} - {None}:
        assert len({placed[m.name] for m in members if m.group == group}) == 1


def test_shares_are_met_exactly_where_no_groups_stand_in_the_way() -> None:
    division = split_by_fractions(singles(100), {"train": 0.7, "validation": 0.1, "test": 0.2}, seed=3)
    assert {part: len(names) for part, names in division.parts.items()} == {"train": 70, "validation": 10, "test": 20}


def test_a_large_group_goes_first_so_that_the_small_ones_even_out_the_shares() -> None:
    members = [*singles(2), *(Member(f"frame{index}", 1) for index in range(8))]
    for seed in range(10):
        division = split_by_fractions(members, {"train": 0.8, "test": 0.2}, seed)
        assert {part: len(names) for part, names in division.parts.items()} == {"train": 8, "test": 2}


@pytest.mark.parametrize("sizes", [(6, 6), (10, 9), (50, 40), (30, 30), (1, 1), (20, 3, 5)])
def test_two_or_three_patients_are_divided_with_the_smallest_in_the_part_that_would_be_empty(
    sizes: tuple[int, ...],
) -> None:
    members = [Member(f"{patient}-{frame}", patient) for patient, size in enumerate(sizes) for frame in range(size)]
    for seed in range(5):
        parts = split_by_fractions(members, {"train": 0.95, "validation": 0.05}, seed).parts
        assert len(parts["train"]) + len(parts["validation"]) == sum(sizes)
        assert len(parts["validation"]) == min(sizes)


def test_every_part_gets_a_group_where_there_are_as_many_as_parts() -> None:
    members = [Member(f"{patient}-{frame}", patient) for patient, size in enumerate((9, 8, 7)) for frame in range(size)]
    parts = split_by_fractions(members, {"train": 0.8, "validation": 0.1, "test": 0.1}, seed=1).parts
    assert [len(names) for names in parts.values()] == [9, 7, 8] or [len(names) for names in parts.values()] == [
        9,
        8,
        7,
    ]


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    shares = {"train": 0.5, "test": 0.5}
    first, again, other = (split_by_fractions(singles(40), shares, seed).parts for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_part_that_groups_leave_empty_is_refused() -> None:
    with pytest.raises(SplitNotPossible, match=r"All 2 pairs .* 'test' is left empty"):
        split_by_fractions([Member("a", 1), Member("b", 1)], {"train": 0.8, "test": 0.2}, seed=0)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (singles(1), "1 pair is too few: part 'validation' is left empty"),
        (singles(2), "2 pairs are too few: part 'test' is left empty"),
        ([Member("a", 1), Member("b", 1), Member("c")], "3 pairs are too few in 2 groups that stay together"),
        ([Member(name, 1) for name in "abc"], "All 3 pairs look alike or are of one patient or sequence"),
    ],
)
def test_a_set_too_small_to_divide_says_what_it_takes_and_how_to_do_without(members: list[Member], words: str) -> None:
    with pytest.raises(SplitNotPossible, match=words) as refused:
        split_by_fractions(members, {"train": 0.8, "validation": 0.1, "test": 0.1}, seed=0)
    for advice in ("four with a test part", "--test-fraction 0", "--test NAME=FOLDER"):
        assert advice in refused.value.hint


def test_of_several_empty_parts_the_first_is_named() -> None:
    with pytest.raises(SplitNotPossible, match="part 'b' is left empty"):
        split_by_fractions(singles(1), {"a": 0.4, "b": 0.3, "c": 0.3}, seed=0)


@pytest.mark.parametrize("shares", [{}, {"a": 0.5, "b": 0.6}, {"a": 1.5, "b": -0.5}])
def test_shares_that_are_no_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(SplitNotPossible, match="add up to 1"):
        split_by_fractions(singles(4), shares, seed=0)


def test_a_list_is_obeyed_and_what_it_tears_or_leaves_out_is_said() -> None:
    members = [Member("a", 1), Member("b", 1), Member("c"), Member("d", 2), Member("e", 2)]
    division = split_by_names(members, {"train": ["c", "a"], "test": ["b"]})
    assert division.parts == {"train": ["a", "c"], "test": ["b"]}
    assert division.torn_groups == [["a", "b"]]
    assert division.left_out == ["d", "e"]


def test_lists_with_unknown_or_double_names_are_refused_by_name() -> None:
    with pytest.raises(UnknownPairNames, match="'zz'") as caught:
        split_by_names(singles(3), {"train": ["p000", "zz"]})
    assert caught.value.members == {"names": ["zz"]}
    strange = [f"zz{index:02d}" for index in range(25)]
    with pytest.raises(UnknownPairNames, match="25 names are unknown, the first is 'zz00'") as caught:
        split_by_names(singles(3), {"train": [*reversed(strange), "p000"]})
    assert caught.value.members == {"names": strange[:20]}
    with pytest.raises(PairInTwoParts, match="'p001'"):
        split_by_names(singles(3), {"train": ["p000", "p001"], "test": ["p001"]})
    with pytest.raises(SplitNotPossible, match="'test' lists no pair"):
        split_by_names(singles(3), {"train": ["p000"], "test": []})


def test_patients_can_be_told_from_the_names() -> None:
    members = grouped_by_prefix(["ann_1", "bob_1", "ann_2", "carl"], "_")
    assert [member.group for member in members] == [0, 1, 0, 2]
