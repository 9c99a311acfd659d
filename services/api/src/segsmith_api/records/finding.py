"""One row by its identity, or a NotFound that names the noun."""

from typing import Any, TypeVar
from uuid import UUID

from sqlmodel import Session, SQLModel

from segsmith_shared.problems import NotFound

Row = TypeVar("Row", bound=SQLModel)


def find(session: Session, table: type[Row], identity: UUID, *, noun: str, for_update: bool = False) -> Row:
    """The row, locked until the transaction ends where `for_update`. Raises NotFound."""
    row: Row | None = session.get(table, identity, with_for_update=for_update or None)
    if row is None:
        raise NotFound(f"There is no {noun} {identity}.")
    return row


def check_exists(session: Session, table: Any, identity: UUID, *, noun: str) -> None:
    """For lists below a noun: an empty list of something that does not exist would mislead."""
    find(session, table, identity, noun=noun)
