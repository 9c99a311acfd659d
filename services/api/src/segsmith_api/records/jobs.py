"""Jobs, their checkpoints and artifacts in Postgres. Read only: `segsmith_shared.jobs.states` writes."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func
from sqlmodel import Session, col, select

from segsmith_api.answers import ArtifactAnswer, CheckpointAnswer, JobAnswer, JobDetail
from segsmith_api.pagination import Order, Page, PageRequest, newest_first, page_of
from segsmith_api.records.finding import check_exists, find
from segsmith_shared.database.among import among
from segsmith_shared.database.tables import Artifact, Checkpoint, Job, JobDependency, JobKind, JobStatus, Pipeline

ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


def get(session: Session, job_id: UUID) -> Job:
    return find(session, Job, job_id, noun="job")


def detail(session: Session, job_id: UUID) -> JobDetail:
    row = get(session, job_id)
    return JobDetail.of(row, needs_of(session, [row.id])[row.id])


def page(
    session: Session,
    asked: PageRequest,
    *,
    pipeline_id: UUID | None = None,
    kind: JobKind | None = None,
    status: JobStatus | None = None,
) -> Page[JobAnswer]:
    query = select(Job)
    for column, value in ((Job.pipeline_id, pipeline_id), (Job.kind, kind), (Job.status, status)):
        if value is not None:
            query = query.where(column == value)
    return page_of(session, query, newest_first(Job), asked, lambda rows: shown(session, rows))


def of_pipeline(session: Session, pipeline_id: UUID) -> list[JobAnswer]:
    """The whole graph, in the order in which it was planned."""
    query = select(Job).where(Job.pipeline_id == pipeline_id).order_by(col(Job.created_at), col(Job.name), col(Job.id))
    return shown(session, list(session.exec(query)))


def shown(session: Session, rows: Sequence[Job]) -> list[JobAnswer]:
    needs = needs_of(session, [row.id for row in rows])
    return [JobAnswer.of(row, needs[row.id]) for row in rows]


def needs_of(session: Session, job_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    """What each job needs, in one query for all."""
    query = select(JobDependency).where(among(col(JobDependency.job_id), job_ids)).order_by(col(JobDependency.needs_id))
    needs: dict[UUID, list[UUID]] = {job_id: [] for job_id in job_ids}
    for row in session.exec(query):
        needs[row.job_id].append(row.needs_id)
    return needs


def checkpoints_page(session: Session, asked: PageRequest, job_id: UUID) -> Page[CheckpointAnswer]:
    check_exists(session, Job, job_id, noun="job")
    query = select(Checkpoint).where(Checkpoint.job_id == job_id)
    order = (Order(Checkpoint.images_seen), Order(Checkpoint.id))
    return page_of(session, query, order, asked, lambda rows: [CheckpointAnswer.model_validate(row) for row in rows])


def artifacts_page(
    session: Session, asked: PageRequest, *, job_id: UUID | None = None, pipeline_id: UUID | None = None
) -> Page[ArtifactAnswer]:
    """The artifacts of one job or of all jobs of a pipeline, oldest first."""
    query = select(Artifact)
    if job_id is not None:
        check_exists(session, Job, job_id, noun="job")
        query = query.where(Artifact.job_id == job_id)
    if pipeline_id is not None:
        check_exists(session, Pipeline, pipeline_id, noun="pipeline")
        query = query.where(col(Artifact.job_id).in_(select(Job.id).where(Job.pipeline_id == pipeline_id)))
    order = (Order(Artifact.created_at), Order(Artifact.id))
    return page_of(session, query, order, asked, lambda rows: [ArtifactAnswer.of(row) for row in rows])


def artifact(session: Session, artifact_id: UUID) -> Artifact:
    return find(session, Artifact, artifact_id, noun="artifact")


def counts(session: Session) -> list[tuple[str, str, int]]:
    """How many jobs there are by kind and status, for the metrics."""
    query = select(Job.kind, Job.status, func.count()).group_by(col(Job.kind), col(Job.status))
    return [(kind, status, count) for kind, status, count in session.exec(query)]
