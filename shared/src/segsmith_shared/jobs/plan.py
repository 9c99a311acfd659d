"""From planned jobs to rows: written in the caller's transaction, so that a request's jobs exist all or not at all."""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from uuid import UUID

from sqlmodel import Session, col, select

from segsmith_shared.database.tables import Job, JobDependency, JobKind, JobStatus
from segsmith_shared.jobs import states
from segsmith_shared.jobs.outcomes import FollowUp
from segsmith_shared.plans.pipeline import PlannedJob
from segsmith_shared.problems import Conflict, InvalidInput

QUEUE_OF_KIND = {
    JobKind.IMPORT: "cpu",
    JobKind.CLUSTER: "gpu",
    JobKind.TRAIN: "gpu",
    JobKind.GENERATE: "gpu",
    JobKind.STYLE: "gpu",
    JobKind.SEGMENT: "gpu",
    JobKind.EVALUATE: "cpu",
    JobKind.REPORT: "cpu",
    JobKind.PROBE: "cpu",
}


class CircularNeeds(InvalidInput):
    """Jobs that wait for each other would wait for ever."""

    title = "Jobs need each other in a circle"


def submit(
    session: Session, jobs: Sequence[PlannedJob], *, pipeline_id: UUID | None = None, priority: int = 0
) -> list[Job]:
    """Write the jobs as queued, with their needs, which may be jobs of the list or stored ones.

    Ring the queues (`bell.ring_for`) after the commit. Raises CircularNeeds.
    """
    _refuse_circles({job.id: set(job.needs) for job in jobs})
    rows = [
        Job(
            id=job.id,
            pipeline_id=pipeline_id,
            kind=job.kind,
            name=job.name,
            queue=job.queue,
            priority=priority,
            spec=job.spec.model_dump(mode="json"),
        )
        for job in jobs
    ]
    states.enqueue(session, rows)
    session.flush()
    session.add_all(
        JobDependency(job_id=job.id, needs_id=need, even_if_failed=job.even_if_needs_failed)
        for job in jobs
        for need in dict.fromkeys(job.needs)
    )
    session.flush()
    states.cancel_orphans(session)
    return rows


def add_follow_ups(session: Session, parent: Job, follow_ups: Iterable[FollowUp], *, paused: bool) -> None:
    """Write the jobs that a finishing job adds. Raises Conflict where a job that is to wait for one no longer waits."""
    follow_ups = list(follow_ups)
    if not follow_ups:
        return
    _refuse_circles({follow_up.job.id: set(follow_up.needs) for follow_up in follow_ups})
    for follow_up in follow_ups:
        follow_up.job.pipeline_id = follow_up.job.pipeline_id or parent.pipeline_id
    states.enqueue(session, [follow_up.job for follow_up in follow_ups], paused=paused)
    session.flush()
    _require_waiting(session, {waiting for follow_up in follow_ups for waiting in follow_up.needed_by})
    needs = {(follow_up.job.id, need) for follow_up in follow_ups for need in follow_up.needs}
    needs |= {(waiting, follow_up.job.id) for follow_up in follow_ups for waiting in follow_up.needed_by}
    session.add_all(JobDependency(job_id=job_id, needs_id=need) for job_id, need in sorted(needs))
    session.flush()
    states.cancel_orphans(session)


def _require_waiting(session: Session, job_ids: set[UUID]) -> None:
    statement = (
        select(Job).where(col(Job.id).in_(job_ids)).order_by(col(Job.id)).with_for_update(key_share=True, of=Job)
    )
    for job in session.exec(statement).all():
        if job.status in (JobStatus.RUNNING, JobStatus.SUCCEEDED):
            raise Conflict(f"Job {job.id} is {job.status} and can wait for nothing more.")


def _refuse_circles(needs: dict[UUID, set[UUID]]) -> None:
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        raise CircularNeeds(f"These need each other: {', '.join(str(job) for job in error.args[1])}.") from error
