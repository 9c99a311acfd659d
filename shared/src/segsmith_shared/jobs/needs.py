"""Who waits for whom: the rows between jobs, and the note on a job that it waits; never their status."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from uuid import UUID

from sqlalchemy import ColumnElement, Update, text, update
from sqlmodel import Session, col, select

from segsmith_shared.database.among import among
from segsmith_shared.database.tables import Job, JobDependency, JobStatus
from segsmith_shared.jobs import queue
from segsmith_shared.problems import Conflict, InvalidInput


class CircularNeeds(InvalidInput):
    """Jobs that wait for each other would wait for ever."""

    title = "Jobs need each other in a circle"


def write(session: Session, edges: Iterable[tuple[UUID, UUID]], *, even_if_failed: bool = False) -> None:
    """Store (job, the job it needs) for each edge."""
    rows = [
        JobDependency(job_id=job_id, needs_id=need, even_if_failed=even_if_failed)
        for job_id, need in dict.fromkeys(edges)
    ]
    session.add_all(rows)
    session.flush()
    if not even_if_failed:  # these are few, a report for each pipeline, and are told of the end of no need
        waiting = among(col(Job.id), {row.job_id for row in rows}) & queue.has_unmet_need()
        session.execute(_noted(waiting, waits=True))


def release(session: Session, need_id: UUID) -> None:
    """Take the note from the jobs that waited for this one, which has succeeded, alone.

    Those that somebody else has locked keep it, so that nobody waits in a circle: `release_all` comes by.
    """
    dependants = select(JobDependency.job_id).where(JobDependency.needs_id == need_id)
    session.execute(_noted(_free(col(Job.id).in_(dependants)), waits=False))


def release_all(session: Session) -> None:
    """Take the note from every job that waits for nothing: two last needs that end at once do not see each other."""
    session.execute(_noted(_free(), waits=False))


def _free(*among_them: ColumnElement[bool]) -> ColumnElement[bool]:
    free = select(Job.id).where(text("job.waits AND job.status IN ('queued', 'paused')"), *among_them)
    return col(Job.id).in_(
        free.where(~queue.has_unmet_need()).with_for_update(key_share=True, skip_locked=True, of=Job)
    )


def _noted(which: ColumnElement[bool], *, waits: bool) -> Update:
    return update(Job).where(which).values(waits=waits).execution_options(synchronize_session=False)


def refuse_circles(needs: Mapping[UUID, Iterable[UUID]]) -> None:
    """Raises CircularNeeds where jobs of the mapping (job -> what it needs) would wait for each other."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        raise CircularNeeds(f"These need each other: {', '.join(str(job) for job in error.args[1])}.") from error


def require_waiting(session: Session, job_ids: Iterable[UUID]) -> None:
    """Lock the jobs. Raises Conflict where one has begun already, so that it can wait for nothing more."""
    statement = (
        select(Job).where(among(col(Job.id), job_ids)).order_by(col(Job.id)).with_for_update(key_share=True, of=Job)
    )
    for job in session.exec(statement).all():
        if job.status in (JobStatus.RUNNING, JobStatus.SUCCEEDED):
            raise Conflict(f"Job {job.id} is {job.status} and can wait for nothing more.")
