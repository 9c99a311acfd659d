"""Which jobs may start now, decided in SQL from their needs; nothing is written here."""

from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, text
from sqlalchemy import select as sa_select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from segsmith_shared.database.tables import Job, JobDependency, JobStatus

MOST_COUNTED = 64
QUEUES = ("gpu", "cpu")
ENDED_BADLY = (JobStatus.FAILED, JobStatus.CANCELLED)


def has_unmet_need() -> ColumnElement[bool]:
    """Some need has not succeeded, and not ended at all where the dependency says that this is enough."""
    need = aliased(Job)
    return (
        sa_select(1)
        .select_from(JobDependency)
        .join(need, col(need.id) == col(JobDependency.needs_id))
        .where(
            col(JobDependency.job_id) == col(Job.id),
            col(need.status) != JobStatus.SUCCEEDED,
            ~(col(JobDependency.even_if_failed) & col(need.status).in_(ENDED_BADLY)),
        )
        .correlate(Job)
        .exists()
    )


def may_start(*, whatever_was_noted: bool) -> ColumnElement[bool]:
    """Queued, due, and without an unmet need.

    Unless `whatever_was_noted`, jobs noted as waiting are not looked at, so that a hundred thousand that wait cost a
    claim nothing; the note may be late, and whoever finds no other job looks at them too.
    """
    due = or_(col(Job.not_before).is_(None), col(Job.not_before) <= func.now())
    queued = text("job.status = 'queued'") if whatever_was_noted else text("job.status = 'queued' AND NOT job.waits")
    return and_(queued, due, ~has_unmet_need())


def next_claimable(queue: str, *, whatever_was_noted: bool = False) -> Select[UUID]:
    """The id of the job to claim next, locked; jobs that others are claiming are passed over."""
    return (
        sa_select(col(Job.id))
        .where(col(Job.queue) == queue, may_start(whatever_was_noted=whatever_was_noted))
        .order_by(col(Job.priority), col(Job.created_at), col(Job.id))
        .limit(1)
        .with_for_update(skip_locked=True, of=Job)
    )


def claimable_counts(session: Session) -> dict[str, int]:
    """Queue -> how many of its jobs could start now, counted up to 64 each; queues without any are absent.

    Each queue is counted by itself: a thousand jobs of one must not hide those of another, which then nobody rings for.
    """
    counts = {
        queue: _counted(session, queue, whatever_was_noted=False) or _counted(session, queue, whatever_was_noted=True)
        for queue in QUEUES
    }
    return {queue: count for queue, count in counts.items() if count}


def _counted(session: Session, queue: str, *, whatever_was_noted: bool) -> int:
    ready = and_(col(Job.queue) == queue, may_start(whatever_was_noted=whatever_was_noted))
    some = sa_select(col(Job.id)).where(ready).limit(MOST_COUNTED).subquery()
    count: int = session.execute(sa_select(func.count()).select_from(some)).scalar_one()
    return count
