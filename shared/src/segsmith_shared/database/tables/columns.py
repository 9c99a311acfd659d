"""Column shapes that every table shares: identities, moments and JSON documents."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import DateTime, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

Document = dict[str, Any]
Texts = list[str]


def now() -> datetime:
    return datetime.now(UTC)


def identity() -> UUID:
    """A primary key. Made by the writer, so that rows can refer to each other before they are stored."""
    field: UUID = Field(default_factory=uuid4, primary_key=True)
    return field


def moment(*, index: bool = False) -> datetime:
    """A moment in UTC, the time of writing unless told."""
    field: datetime = Field(
        default_factory=now,
        sa_type=DateTime(timezone=True),
        sa_column_kwargs={"server_default": text("now()")},
        index=index,
        nullable=False,
    )
    return field


def optional_moment() -> datetime | None:
    field: datetime | None = Field(default=None, sa_type=DateTime(timezone=True), nullable=True)
    return field


def document() -> Document:
    """A JSON object, empty unless told."""
    field: Document = Field(default_factory=dict, sa_type=JSONB, nullable=False)
    return field


def optional_document() -> Document | None:
    field: Document | None = Field(default=None, sa_type=JSONB, nullable=True)
    return field


def texts() -> Texts:
    """A JSON list of words, empty unless told."""
    field: Texts = Field(
        default_factory=list, sa_type=JSONB, nullable=False, sa_column_kwargs={"server_default": text("'[]'::jsonb")}
    )
    return field
