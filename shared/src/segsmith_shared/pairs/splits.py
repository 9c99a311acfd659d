"""Dividing a version into parts such as train and test, without a picture's twin ending up on the other side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from segsmith_shared.problems import InvalidInput
from segsmith_shared.randomness import numpy_generator_for


class UnknownPairNames(InvalidInput):
    """A list names pairs that the version does not have; the member `names` holds the first of them."""

    title = "A split names pairs that do not exist"


class PairInTwoParts(InvalidInput):
    """The parts of a split overlap."""

    title = "A pair is in two parts of a split"


class SplitNotPossible(InvalidInput):
    """The shares are no shares, or groups that stay together leave a part without pairs."""

    title = "The split is not possible"


@dataclass(frozen=True)
class Member:
    """A pair to be put somewhere. Members of one `group` (near-duplicates, frames of one sequence) stay together."""

    name: str
    group: int | None = None


@dataclass(frozen=True)
class Division:
    """Names per part in the members' order; groups that a list tore apart, and names that no part took."""

    parts: dict[str, list[str]]
    torn_groups: list[list[str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def split_by_fractions(members: Sequence[Member], fractions: Mapping[str, float], seed: int) -> Division:
    """Shares per part, e.g. `{"train": .8, "test": .2}`, filled by whole groups in an order drawn from the seed.

    The largest groups go first and each goes where most is missing, so that shares are met as closely as groups allow;
    a part that would stay empty gets the smallest group. Raises SplitNotPossible when shares do not add up to 1 or
    there are fewer groups than parts.
    """
    if not fractions or min(fractions.values()) <= 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        raise SplitNotPossible("The shares must be above 0 and add up to 1.", hint="E.g. train .8 and test .2.")
    groups = _groups(members)
    order = numpy_generator_for(seed, "split").permutation(len(groups))
    missing = {part: share * len(members) for part, share in fractions.items()}
    held: dict[str, list[list[str]]] = {part: [] for part in fractions}
    for group in sorted((groups[index] for index in order), key=len, reverse=True):
        part = max(missing, key=missing.__getitem__)
        missing[part] -= len(group)
        held[part].append(group)
    for part in fractions:
        if not held[part]:
            held[part] = [_smallest_to_spare(held, missing, len(members), part)]
    chosen = {name: part for part, mine in held.items() for group in mine for name in group}
    return Division({part: [m.name for m in members if chosen[m.name] == part] for part in fractions})


def _smallest_to_spare(
    held: dict[str, list[list[str]]], missing: dict[str, float], pair_count: int, part: str
) -> list[str]:
    """The last, smallest, group of the part that is fullest for its share and has more than one: few patients make
    few groups, and a part that is larger than asked for serves better than none.

    Raises SplitNotPossible where there are fewer groups than parts.
    """
    donors = [each for each, groups in held.items() if len(groups) > 1]
    if not donors:
        raise _part_left_empty(pair_count, sum(map(len, held.values())), part)
    donor = min(donors, key=missing.__getitem__)
    group = held[donor].pop()
    missing[donor] += len(group)
    return group


def _part_left_empty(pair_count: int, group_count: int, part: str) -> SplitNotPossible:
    if group_count == 1 < pair_count:
        what = f"All {pair_count} pairs look alike or are of one patient or sequence, and stay together"
    else:
        groups = f" in {group_count} groups that stay together" if group_count < pair_count else ""
        what = f"{pair_count} {'pair is' if pair_count == 1 else 'pairs are'} too few{groups}"
    return SplitNotPossible(
        f"{what}: part {part!r} is left empty.",
        hint="At least two pairs are needed, four with a test part. Add pairs that differ, or hold none out "
        "(--test-fraction 0), or give held-out pairs of their own (--test NAME=FOLDER).",
    )


def split_by_names(members: Sequence[Member], parts: Mapping[str, Sequence[str]]) -> Division:
    """The parts as listed. A list is obeyed also where it tears a group apart, but the division says so.

    Raises UnknownPairNames, PairInTwoParts (also for a name listed twice), SplitNotPossible for an empty part.
    """
    known = {member.name for member in members}
    part_of: dict[str, str] = {}
    for part, names in parts.items():
        if not names:
            raise SplitNotPossible(f"Part {part!r} lists no pair.")
        for name in names:
            if name in part_of:
                raise PairInTwoParts(f"{name!r} is listed in {part_of[name]!r} and in {part!r}.")
            part_of[name] = part
    if unknown := sorted(part_of.keys() - known):
        raise UnknownPairNames(
            f"{len(unknown)} names are unknown, the first is {unknown[0]!r}.",
            hint="Names are those of the import report, without the file's ending.",
            names=unknown[:20],
        )
    return Division(
        parts={part: [m.name for m in members if part_of.get(m.name) == part] for part in parts},
        torn_groups=[group for group in _groups(members) if len({part_of.get(name) for name in group} - {None}) > 1],
        left_out=[member.name for member in members if member.name not in part_of],
    )


def grouped_by_prefix(names: Sequence[str], separator: str) -> list[Member]:
    """Members whose group is the part of the name before `separator`: a patient, or a sequence of frames."""
    prefixes = {prefix: index for index, prefix in enumerate(dict.fromkeys(n.partition(separator)[0] for n in names))}
    return [Member(name, prefixes[name.partition(separator)[0]]) for name in names]


def _groups(members: Sequence[Member]) -> list[list[str]]:
    groups: dict[object, list[str]] = {}
    for member in members:
        key = member.name if member.group is None else (member.group,)
        groups.setdefault(key, []).append(member.name)
    return list(groups.values())
