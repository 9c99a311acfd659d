"""Which pairs are of one patient or sequence, by a pattern over names or a column of a table; splits respect it.

Run as a module, this file is the limited child that applies a pattern: one that backtracks without end must not hold
up the service.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segsmith_shared.pairs.formats import Candidate, FoundFile
from segsmith_shared.pairs.id_lists import FoundNames, PairNames
from segsmith_shared.pairs.import_report import Finding, many
from segsmith_shared.pairs.limited import ChildDied, LimitedProcess, ProcessLimits, serve
from segsmith_shared.pairs.text_files import MAXIMUM_LIST_BYTES, Table, decoded, read_table
from segsmith_shared.problems import InvalidInput

PATTERN_SECONDS = 20.0
_SHOWN = 8


class GroupsNotFound(InvalidInput):
    """The pattern or the column of the groups does not fit the folder."""

    title = "The groups cannot be made"


@dataclass(frozen=True)
class Grouped:
    """The candidates with their groups as `sequence`, how that was done, and what to look at."""

    candidates: list[Candidate]
    how: str
    findings: list[Finding]


def check_pattern(pattern: str) -> str:
    """The pattern, when it is a regular expression. Raises ValueError."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


def check_column(column: str) -> str:
    """`FILE.csv:COLUMN`. Raises ValueError."""
    file, colon, name = column.rpartition(":")
    if not (file and colon and name):
        raise ValueError(f"{column!r} is not FILE.csv:COLUMN")
    return column


def by_pattern(candidates: Sequence[Candidate], pattern: str) -> Grouped:
    """Groups by what the pattern finds in names or, where it finds nothing in any name, in the images' paths.

    The group is what the named group `group` matches, else the first group, else the whole match. Empty text is no
    group: all pairs in which the pattern matches nothing else would be one patient. Raises GroupsNotFound when no pair
    has a group or the pattern takes longer than `PATTERN_SECONDS`.
    """
    names = [candidate.name for candidate in candidates]
    paths = [str(candidate.image.path) for candidate in candidates]
    keys = _apply(pattern, [names, paths])
    if not any(keys) and candidates:
        matches = "matches only empty text in pairs' names or paths" if "" in keys else "matches no pair's name or path"
        raise GroupsNotFound(
            f"The pattern {pattern!r} {matches}, e.g. {names[0]!r} at {paths[0]!r}.",
            hint="It is a regular expression that is searched for; its first (…) is the patient or sequence.",
        )
    return _grouped(candidates, keys, f"pattern {pattern!r}", "group-pattern")


def by_column(candidates: Sequence[Candidate], column: str, files: Iterable[FoundFile]) -> Grouped:
    """Groups by a column of a table in the folder, whose rows name images in the other column that names most of them.

    Raises GroupsNotFound when there is no such file or column, no row names a pair, or two rows disagree about one.
    """
    file_name, _, column_name = column.rpartition(":")
    table = _table(file_name, files)
    try:
        groups = table.column(column_name)
    except KeyError:
        raise GroupsNotFound(
            f"{file_name} has no column {column_name!r}.", hint=f"It has: {', '.join(table.header[:40])}."
        ) from None
    group_of = _groups_by_best_key(table, column_name, PairNames(candidates), groups, file_name)
    keys = [group_of.get(candidate.name) for candidate in candidates]
    return _grouped(candidates, keys, f"column {column!r}", "group-column")


def _grouped(candidates: Sequence[Candidate], keys: Sequence[str | None], how: str, code: str) -> Grouped:
    """The candidates with their keys as groups; those without one (None), or with an empty one, are named."""
    found = [
        replace(candidate, sequence=f"{code} {key}") if key else candidate
        for candidate, key in zip(candidates, keys, strict=True)
    ]
    alone = [candidate.name for candidate, key in zip(candidates, keys, strict=True) if not key]
    findings = []
    if alone:
        empty = keys.count("")
        why = f" ({empty} with only empty text matched)" if empty else ""
        what = f"{many(len(alone), 'pair')} without a group by {how}{why}: {', '.join(alone[:_SHOWN])}"
        advice = "mend the pattern or the table: a split may part these from others of their patient"
        findings = [Finding(severity="warning", code=code, file=alone[0], what=what, what_to_do=advice)]
    elif len(found) > 1 and len(set(keys)) == 1:
        what = f"all {len(found)} pairs are one group by {how}: {keys[0]!r}"
        advice = "mend the pattern or the table, unless all pictures are of one patient: no split can part them"
        findings = [Finding(severity="warning", code=code, file=found[0].name, what=what, what_to_do=advice)]
    return Grouped(found, how, findings)


def _table(name: str, files: Iterable[FoundFile]) -> Table:
    wanted = name.strip("./").casefold()
    found = [file for file in files if f"/{file.path}".casefold().endswith(f"/{wanted}")]
    if not found:
        raise GroupsNotFound(f"The folder has no file {name!r}.", hint="Name a file of the folder, e.g. metadata.csv.")
    file = min(found, key=lambda file: len(file.folders))
    if file.location.stat().st_size > MAXIMUM_LIST_BYTES:
        raise GroupsNotFound(f"{file.path} is over 16 MiB.", hint="Keep only the image's name and the group in it.")
    return read_table(decoded(file.location.read_bytes(), str(file.path)))


def _groups_by_best_key(
    table: Table, group_column: str, names: PairNames, groups: Sequence[str], file_name: str
) -> dict[str, str]:
    """Pair name → group, by the column whose texts name most pairs; of two such by the one with fewer plain numbers.

    An age or the number of a row may happen to be some pairs' name: what other columns say of pairs does not count.
    """
    columns: dict[tuple[int, int], list[tuple[str, list[FoundNames]]]] = defaultdict(list)
    for place, title in enumerate(table.header):
        if title.casefold() != group_column.casefold():
            texts = [row[place] for row in table.rows]
            found = [names.find(text) for text in texts]
            columns[_pairs_named(found), sum(not text.isdecimal() for text in texts)].append((title, found))
    most = max(columns, default=(0, 0))
    if not most[0]:
        raise GroupsNotFound(
            f"No row of {file_name} names a pair.", hint="One of its columns must hold the images' names."
        )
    (title, found), *others = columns[most]
    group_of = _group_of_each(found, groups, file_name, title)
    for other, also_found in others:
        if _group_of_each(also_found, groups, file_name, other) != group_of:
            raise GroupsNotFound(
                f"{file_name} names pairs in its columns {title!r} and {other!r}, in another order in each.",
                hint="Keep only the one with the images' names beside the group.",
            )
    return group_of


def _pairs_named(found: Sequence[FoundNames]) -> int:
    return len({candidate.name for each in found for candidate in each.candidates})


def _group_of_each(found: Sequence[FoundNames], groups: Sequence[str], file_name: str, title: str) -> dict[str, str]:
    group_of: dict[str, str] = {}
    for each, group in zip(found, groups, strict=True):
        for candidate in each.candidates if group else ():
            if group_of.setdefault(candidate.name, group) != group:
                raise GroupsNotFound(
                    f"{file_name} gives {candidate.name!r} two groups, {group_of[candidate.name]!r} and {group!r}, "
                    f"by its column {title!r}.",
                    hint="Keep one row for each image.",
                )
    return group_of


def _apply(pattern: str, texts: Sequence[Sequence[str]]) -> list[str | None]:
    limits = ProcessLimits(cpu_seconds=PATTERN_SECONDS, clock_seconds=4 * PATTERN_SECONDS)
    with LimitedProcess(__name__, limits) as child:
        try:
            head, _ = child.ask({"pattern": pattern, "texts": texts})
        except ChildDied as death:
            what = (
                f"takes longer than {PATTERN_SECONDS:g} s" if death.ran_out_of_time else f"cannot be applied: {death}"
            )
            raise GroupsNotFound(f"The pattern {pattern!r} {what}.", hint="Write it without nested repeats.") from death
    keys: list[str | None] = head["keys"]
    return keys


def _answer(request: dict[str, Any], _: Callable[[dict[str, Any]], None]) -> tuple[dict[str, Any], list[bytes]]:
    """The child's work: what the pattern matches in the first list of texts in which it matches anything."""
    pattern = re.compile(request["pattern"])
    keys: list[str | None] = []
    for texts in request["texts"]:
        keys = [_group_of(pattern.search(text)) for text in texts]
        if any(key is not None for key in keys):
            break
    return {"keys": keys}, []


def _group_of(match: re.Match[str] | None) -> str | None:
    if match is None:
        return None
    if "group" in match.re.groupindex:
        return match["group"]
    return match[1] if match.re.groups else match[0]


if __name__ == "__main__":
    serve(_answer)
