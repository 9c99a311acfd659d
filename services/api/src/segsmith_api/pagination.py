"""Cursor pages: a list is walked by the last row seen, so that rows that come meanwhile shift nothing."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field
from sqlakeyset import InvalidPage, select_page, unserialize_bookmark
from sqlalchemy.orm import InstrumentedAttribute
from sqlmodel import Session
from sqlmodel.sql.expression import SelectOfScalar

from segsmith_shared.problems import InvalidInput

LARGEST_PAGE = 200
TAG_BYTES = 6
LARGEST_INTEGER = 2**63

Row = TypeVar("Row")
Item = TypeVar("Item")


class BadCursor(InvalidInput):
    """The cursor is not one this list gave."""

    title = "The cursor does not belong here"


class Page(BaseModel, Generic[Item]):
    """Some items of a list and the cursor of those that follow; null at the end."""

    items: list[Item]
    next_cursor: str | None = Field(description="give it as `cursor` to go on; null at the end")


@dataclass(frozen=True)
class PageRequest:
    """How many items after which one; `of` is the list's address, so that a cursor serves no other list."""

    limit: int
    cursor: str | None
    of: str


@dataclass(frozen=True)
class Order:
    """A column and its direction. The last column of a list's order must be unique."""

    column: Any
    descending: bool = False


def newest_first(table: Any) -> tuple[Order, Order]:
    return Order(table.created_at, descending=True), Order(table.id, descending=True)


def page_of(
    session: Session,
    query: SelectOfScalar[Row],
    order: Sequence[Order],
    asked: PageRequest,
    shown: Callable[[list[Row]], list[Item]],
) -> Page[Item]:
    """The asked page of `query` in `order`. `shown` turns the rows of the page into answers. Raises BadCursor."""
    query = query.order_by(*(entry.column.desc() if entry.descending else entry.column.asc() for entry in order))
    select: Any = query  # sqlakeyset types rows of tuples only
    page = select_page(session, select, per_page=asked.limit, page=_place(asked, order))
    rows = [row[0] for row in page]
    following = _cursor(asked.of, page.paging.bookmark_next) if page.paging.has_next else None
    return Page(items=shown(rows), next_cursor=following)


def _cursor(of: str, bookmark: str) -> str:
    return base64.urlsafe_b64encode(_tag(of) + bookmark.encode()).decode().rstrip("=")


def _tag(of: str) -> bytes:
    return sha256(of.encode()).digest()[:TAG_BYTES]


def _place(asked: PageRequest, order: Sequence[Order]) -> Any:
    """The bookmark in the cursor, checked value by value: what reaches SQL has the types of its columns."""
    if asked.cursor is None:
        return None
    try:
        raw = base64.b64decode(asked.cursor + "=" * (-len(asked.cursor) % 4), altchars=b"-_", validate=True)
        marker = unserialize_bookmark(raw[TAG_BYTES:].decode())
    except (binascii.Error, InvalidPage, ValueError, OverflowError, StopIteration) as error:
        raise _bad_cursor() from error
    place = marker.place or ()
    fits = len(place) == len(order) and all(
        _fits(value, entry.column) for value, entry in zip(place, order, strict=True)
    )
    if raw[:TAG_BYTES] != _tag(asked.of) or not fits:
        raise _bad_cursor()
    return marker


def _fits(value: Any, column: "InstrumentedAttribute[Any]") -> bool:
    if type(value) is not column.type.python_type:
        return False
    if isinstance(value, datetime):
        return value.tzinfo is not None
    if isinstance(value, str):
        return "\0" not in value
    return not isinstance(value, int) or abs(value) < LARGEST_INTEGER


def _bad_cursor() -> BadCursor:
    return BadCursor("The cursor is not one that this list gave.", hint="Start again without `cursor`.")
