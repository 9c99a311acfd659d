"""The two names of synthetic pairs: `Diff-sample-2`, the second of every source, and `Diff-2`, the first two.

The paper's tables use both meanings under one name: its FID "sets 1–3" are single samples of every source (n pairs
each), its segmentation arm "Styled-Diff-3" is the union of the first three (3n pairs).
"""

import re
from collections.abc import Collection, Iterable

from segsmith_shared.problems import InvalidInput

_UNION = re.compile(r"(?P<recipe>.+)-(?P<count>[1-9]\d{0,5})")
_SAMPLE = re.compile(r"(?P<recipe>.+)-sample-(?P<index>[1-9]\d{0,5})")


class UnknownSet(InvalidInput):
    """A segmentation arm names a synthetic set that no recipe makes."""

    title = "No recipe makes this set"


def sample_set_name(recipe: str, sample_index: int) -> str:
    """`Diff-sample-2`: the second sample of every source, at most one pair per source."""
    return f"{recipe}-sample-{sample_index}"


def union_name(recipe: str, count: int) -> str:
    """`Diff-2`: the first two samples of every source together, as the paper's segmentation tables count them."""
    return f"{recipe}-{count}"


def reads_as_set(recipe: str) -> bool:
    """Whether a recipe of this name could be taken for a set of another recipe."""
    return _SAMPLE.fullmatch(recipe) is not None or recipe.endswith("-sample")


def members_of(name: str, made: Collection[str]) -> list[str]:
    """The sample sets that a set name means, in order; `made` are the sample sets of the request.

    Raises UnknownSet.
    """
    if name in made:
        return [name]
    union = _UNION.fullmatch(name)
    members = [sample_set_name(union["recipe"], index) for index in range(1, int(union["count"]) + 1)] if union else []
    if members and set(members) <= set(made):
        return members
    raise UnknownSet(
        f"{name!r} is a synthetic set that no recipe makes.", hint=f"Sets of this request: {_known(made)}."
    )


def distinct_members(names: Iterable[str], made: Collection[str]) -> list[str]:
    """The sample sets of several names, each once. Raises UnknownSet."""
    return list(dict.fromkeys(member for name in names for member in members_of(name, made)))


def _known(made: Collection[str]) -> str:
    """Sample sets as they are called, and the unions of the first N that are more than one."""
    unions = []
    for name in made:
        sample = _SAMPLE.fullmatch(name)
        if sample is not None:
            unions.append(union_name(sample["recipe"], int(sample["index"])))
    return ", ".join(sorted([*made, *unions]))
