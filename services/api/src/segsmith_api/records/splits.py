"""Splits in Postgres: names of pairs become their ids, once, and never change."""

from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from segsmith_api.answers import SplitAnswer
from segsmith_api.bodies import NewSplit
from segsmith_api.pagination import Page, PageRequest, newest_first, page_of
from segsmith_api.records.finding import check_exists, find
from segsmith_shared.database.tables import DatasetVersion, Pair, Split
from segsmith_shared.pairs.splits import Division, Member, split_by_fractions, split_by_names
from segsmith_shared.problems import Conflict

SHOWN_GROUPS = 20


class SplitNameTaken(Conflict):
    """The version has a split of this name."""

    title = "The name is taken"


def create(session: Session, version_id: UUID, asked: NewSplit) -> SplitAnswer:
    """Raises NotFound, SplitNameTaken and what `pairs.splits` does."""
    check_exists(session, DatasetVersion, version_id, noun="dataset version")
    columns = select(Pair.id, Pair.name, Pair.near_duplicate_group).where(Pair.version_id == version_id)
    pairs = session.exec(columns.order_by(col(Pair.position))).all()
    division = _divide([Member(name, group) for _, name, group in pairs], asked)
    ids = {name: str(pair_id) for pair_id, name, _ in pairs}
    parts = {part: [ids[name] for name in names] for part, names in division.parts.items()}
    row = Split(version_id=version_id, name=asked.name, parameters=_parameters(asked, division), parts=parts)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise SplitNameTaken(f"The version has a split {asked.name!r}.", hint="Choose another name.") from error
    return SplitAnswer.of(row)


def get(session: Session, split_id: UUID) -> SplitAnswer:
    return SplitAnswer.of(find(session, Split, split_id, noun="split"))


def page(session: Session, asked: PageRequest, version_id: UUID) -> Page[SplitAnswer]:
    check_exists(session, DatasetVersion, version_id, noun="dataset version")
    query = select(Split).where(Split.version_id == version_id)
    return page_of(session, query, newest_first(Split), asked, lambda rows: [SplitAnswer.of(row) for row in rows])


def _divide(members: list[Member], asked: NewSplit) -> Division:
    if asked.parts is not None:
        return split_by_names(members, asked.parts)
    return split_by_fractions(members, asked.fractions or {}, asked.seed)


def _parameters(asked: NewSplit, division: Division) -> dict[str, Any]:
    """How the split came about, and what a reader of it must know: twins that a list put on both sides."""
    if asked.parts is None:
        return {"by": "fractions", "fractions": asked.fractions, "seed": asked.seed}
    torn = division.torn_groups
    return {"by": "names", "left_out": len(division.left_out), "torn_groups": len(torn), "torn": torn[:SHOWN_GROUPS]}
