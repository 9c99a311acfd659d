"""Alembic's entry: runs on the connection that `migrate.py` opened and locked, never on one of its own."""

from typing import Any, Literal

from alembic import context
from sqlmodel import SQLModel

import segsmith_shared.database.tables  # noqa: F401  (registers every table)


def render_item(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """SQLModel's strings are plain strings, so that a revision needs nothing but SQLAlchemy to run."""
    if kind != "type" or type(item).__name__ != "AutoString":
        return False
    length = getattr(item, "length", None) or getattr(getattr(item, "impl", None), "length", None)
    return f"sa.String({length or ''})"


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_item=render_item,
)
with context.begin_transaction():
    context.run_migrations()
