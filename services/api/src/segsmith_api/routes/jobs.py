"""Jobs: how they stand, what they say and leave, and what people may ask of them."""

from collections.abc import Callable, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlmodel import Session

from segsmith_api.answers import ArtifactAnswer, CheckpointAnswer, JobAnswer, JobDetail
from segsmith_api.dependencies import Here, OnceOnly, Paged, Reading
from segsmith_api.event_stream import EVENTS_AT_ONCE, STREAM, After, Watched, event_stream
from segsmith_api.idempotency import Once, Reply
from segsmith_api.object_responses import object_response
from segsmith_api.pagination import Page
from segsmith_api.records import jobs
from segsmith_api.routes import router_of
from segsmith_shared.database.tables import Event, Job, JobKind, JobStatus
from segsmith_shared.jobs import events, states

router = router_of("jobs")


@router.get("/jobs")
def list_jobs(
    session: Reading,
    asked: Paged,
    pipeline_id: Annotated[UUID | None, Query()] = None,
    kind: Annotated[JobKind | None, Query()] = None,
    status: Annotated[JobStatus | None, Query()] = None,
) -> Page[JobAnswer]:
    """Jobs, newest first."""
    return jobs.page(session, asked, pipeline_id=pipeline_id, kind=kind, status=status)


@router.get("/jobs/{job_id}")
def get_job(job_id: UUID, session: Reading) -> JobDetail:
    """One job with everything it was told."""
    return jobs.detail(session, job_id)


@router.post("/jobs/{job_id}/cancel", status_code=202, response_model=JobDetail)
def cancel_job(job_id: UUID, once: OnceOnly) -> Response:
    """Cancel it: at once if it waits, within a step if it runs. Jobs that need it are cancelled too."""
    return _change(once, states.cancel, job_id)


@router.post("/jobs/{job_id}/pause", status_code=202, response_model=JobDetail)
def pause_job(job_id: UUID, once: OnceOnly) -> Response:
    """Hold it: at once if it waits, at its next checkpoint if it runs."""
    return _change(once, states.pause, job_id)


@router.post("/jobs/{job_id}/resume", status_code=202, response_model=JobDetail)
def resume_job(job_id: UUID, once: OnceOnly) -> Response:
    """Go on with a paused job."""
    return _change(once, states.resume, job_id)


@router.post("/jobs/{job_id}/retry", status_code=202, response_model=JobDetail)
def retry_job(job_id: UUID, once: OnceOnly) -> Response:
    """Queue a failed or cancelled job again, from its last slice, with the jobs that its end had cancelled."""
    return _change(once, states.retry, job_id)


@router.get("/jobs/{job_id}/events", response_class=Response, responses=STREAM)
def watch_job(job_id: UUID, here: Here, after: After) -> StreamingResponse:
    """Its events, as they happen; `end` when it has ended."""
    with here.transaction() as session:
        jobs.get(session, job_id)

    def events_after(session: Session, event_id: int) -> Sequence[Event]:
        return events.read(session, job_id=job_id, after_id=event_id, limit=EVENTS_AT_ONCE)

    return event_stream(here, Watched(events_after, lambda session: JobStatus(jobs.get(session, job_id).status)), after)


@router.get("/jobs/{job_id}/checkpoints")
def list_checkpoints(job_id: UUID, session: Reading, asked: Paged) -> Page[CheckpointAnswer]:
    """The training states it has stored."""
    return jobs.checkpoints_page(session, asked, job_id)


@router.get("/jobs/{job_id}/artifacts")
def list_artifacts_of_job(job_id: UUID, session: Reading, asked: Paged) -> Page[ArtifactAnswer]:
    """The files it left for people."""
    return jobs.artifacts_page(session, asked, job_id=job_id)


@router.get(
    "/artifacts/{artifact_id}",
    response_class=Response,
    responses={200: {"content": {"*/*": {}}}, 304: {"description": "you have it"}},
)
def get_artifact(artifact_id: UUID, request: Request, here: Here) -> Response:
    """The bytes of an artifact, in its own media type."""
    with here.transaction() as session:
        row = jobs.artifact(session, artifact_id)
    return object_response(request, here.objects, row.digest, row.media_type, row.name, row.size_bytes)


def _change(once: Once, change: Callable[[Session, UUID], Job], job_id: UUID) -> Response:
    def work(session: Session) -> Reply:
        row = change(session, job_id)
        rings = {row.queue: 1} if row.status == JobStatus.QUEUED else {}
        return Reply(202, jobs.detail(session, job_id), rings=rings)

    return once(work)
