"""What a step returns: done, a slice done, or stopped; each with the rows that belong to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlmodel import Session, SQLModel

from segsmith_shared.database.tables import Job


@dataclass
class FollowUp:
    """A job that a job adds when it finishes. It needs `needs`; the waiting jobs `needed_by` then need it too."""

    job: Job
    needs: list[UUID] = field(default_factory=list)
    needed_by: list[UUID] = field(default_factory=list)


@dataclass
class Finished:
    """The job is done. Everything here is written in one transaction, or, from a stale worker, not at all.

    `in_transaction(session)` runs last, when the job already counts as succeeded; hooks of one pipeline take turns, and
    each sees what the earlier ones committed, so "am I the last of my kind" has one answer.
    """

    outputs: dict[str, Any] = field(default_factory=dict)
    rows: list[SQLModel] = field(default_factory=list)
    artifacts: list[tuple[str, str, str, int]] = field(default_factory=list)  # name, media type, digest, bytes
    follow_ups: list[FollowUp] = field(default_factory=list)
    in_transaction: Callable[[Session], None] | None = None


@dataclass
class SliceDone:
    """A slice is done and checkpointed; the next claim gets `state` (a JSON object)."""

    state: dict[str, Any]
    rows: list[SQLModel] = field(default_factory=list)
    artifacts: list[tuple[str, str, str, int]] = field(default_factory=list)
    in_transaction: Callable[[Session], None] | None = None


@dataclass
class Stopped:
    """The step stopped because `stop_requested` said so, and left `state` to go on from."""

    state: dict[str, Any]
    rows: list[SQLModel] = field(default_factory=list)
    artifacts: list[tuple[str, str, str, int]] = field(default_factory=list)
    in_transaction: Callable[[Session], None] | None = None


Outcome = Finished | SliceDone | Stopped
