"""What happened to a job, written so that a reader who asks for everything after an id never misses a row."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import event, insert, text
from sqlalchemy.orm import Session as BaseSession
from sqlalchemy.orm import SessionTransaction
from sqlmodel import Session, col, select

from segsmith_shared.database.tables import Event, Job

STATUS, PROGRESS, MESSAGE, PREVIEW = "status", "progress", "message", "preview"
PENDING = "segsmith_pending_events"


def record(session: Session, job: Job, kind: str, data: dict[str, Any]) -> None:
    """Keep an event for `job` until the session commits, where it gets its id; a rollback drops it."""
    row = {"job_id": job.id, "pipeline_id": job.pipeline_id, "kind": kind, "data": data}
    session.info.setdefault(PENDING, []).append(row)


def read(
    session: Session,
    *,
    job_id: UUID | None = None,
    pipeline_id: UUID | None = None,
    after_id: int = 0,
    limit: int = 500,
) -> Sequence[Event]:
    """The events of one job or of one pipeline with an id above `after_id`, oldest first, at most `limit`.

    Whoever continues from the last id it saw gets every event exactly once.
    """
    if (job_id is None) == (pipeline_id is None):
        raise ValueError("Give either a job or a pipeline.")
    stream = col(Event.job_id) == job_id if job_id else col(Event.pipeline_id) == pipeline_id
    statement = select(Event).where(stream, col(Event.id) > after_id).order_by(col(Event.id)).limit(limit)
    return session.exec(statement).all()


def stream_key(stream: UUID) -> int:
    """The advisory lock of a stream: 63 bits of its id, which two streams share about never and then harmlessly."""
    return stream.int >> 65


@event.listens_for(BaseSession, "before_commit")
def _write_pending(session: BaseSession) -> None:
    """Number and insert the events as the transaction's last act.

    Ids come from a sequence, so a transaction that commits later may hold a lower id, which a reader who already saw a
    higher one would never ask for. Writers of one stream (a pipeline, or a job without one) therefore take turns, from
    the insert to the commit. Last, and in the order of the keys, so that the turns are short and cannot deadlock.
    """
    if session.in_nested_transaction() or not session.info.get(PENDING):
        return
    session.flush()
    rows = session.info.pop(PENDING)
    for key in sorted({stream_key(row["pipeline_id"] or row["job_id"]) for row in rows}):
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    session.execute(insert(Event), rows)


@event.listens_for(BaseSession, "after_soft_rollback")
def _drop_pending(session: BaseSession, _previous: SessionTransaction) -> None:
    session.info.pop(PENDING, None)
