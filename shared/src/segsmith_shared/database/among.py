"""Rows by any number of ids: `IN` sends each as a parameter of its own, and Postgres takes 65,535 of these at most."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY


def among(column: Any, ids: Iterable[UUID]) -> ColumnElement[bool]:
    """Whether a column of ids holds one of these: a single parameter, however many they are."""
    values = bindparam(None, list(ids), type_=ARRAY(Uuid()))
    found: ColumnElement[bool] = column == any_(values)
    return found
