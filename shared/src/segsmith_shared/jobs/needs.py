"""Who waits for whom: the rows between jobs, never their status."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from uuid import UUID

from sqlmodel import Session, col, select

from segsmith_shared.database.among import among
from segsmith_shared.database.tables import Job, JobDependency, JobStatus
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
