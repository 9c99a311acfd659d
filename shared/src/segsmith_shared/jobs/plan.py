"""From planned jobs to rows: written in the caller's transaction, so that a request's jobs exist all or not at all."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel import Session

from segsmith_shared.database.tables import Job, JobKind
from segsmith_shared.jobs import needs, states
from segsmith_shared.plans.pipeline import PlannedJob

QUEUE_OF_KIND = {
    JobKind.IMPORT: "cpu",
    JobKind.IMPORT_WEIGHTS: "gpu",  # where the networks are that say what a file must hold
    JobKind.IMPORT_MODEL: "gpu",
    JobKind.CLUSTER: "gpu",
    JobKind.TRAIN: "gpu",
    JobKind.GENERATE: "gpu",
    JobKind.STYLE: "gpu",
    JobKind.SEGMENT: "gpu",
    JobKind.EVALUATE: "cpu",
    JobKind.JUDGE: "gpu",
    JobKind.GATE: "gpu",
    JobKind.REPORT: "cpu",
    JobKind.PROBE: "cpu",
}


def submit(
    session: Session, jobs: Sequence[PlannedJob], *, pipeline_id: UUID | None = None, priority: int = 0
) -> list[Job]:
    """Write the jobs as queued, with their needs, which may be jobs of the list or stored ones.

    Ring the queues (`bell.ring_for`) after the commit. Raises CircularNeeds.
    """
    needs.refuse_circles({job.id: set(job.needs) for job in jobs})
    rows = [
        Job(
            id=job.id,
            pipeline_id=pipeline_id,
            kind=job.kind,
            name=job.name,
            queue=job.queue,
            priority=priority + job.priority,
            spec=job.spec.model_dump(mode="json"),
        )
        for job in jobs
    ]
    states.enqueue(session, rows)
    session.flush()
    for job in jobs:
        needs.write(session, ((job.id, need) for need in job.needs), even_if_failed=job.even_if_needs_failed)
    states.cancel_orphans(session)
    return rows
