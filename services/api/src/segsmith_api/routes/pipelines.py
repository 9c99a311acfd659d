"""Pipelines: a whole run, asked for at once."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from fastapi.responses import JSONResponse, StreamingResponse
from sqlmodel import Session

from segsmith_api.answers import ArtifactAnswer, PipelineAnswer, PipelineDetail
from segsmith_api.dependencies import Here, OnceOnly, Paged, Reading
from segsmith_api.event_stream import EVENTS_AT_ONCE, STREAM, After, Watched, event_stream
from segsmith_api.idempotency import Reply
from segsmith_api.openapi import Responses
from segsmith_api.pagination import Page
from segsmith_api.records import jobs, pipelines
from segsmith_api.routes import router_of
from segsmith_shared.database.pipelines import plan_for, submit_pipeline
from segsmith_shared.database.tables import Event, Job, JobStatus
from segsmith_shared.jobs import events, states
from segsmith_shared.plans.specs import PipelineSpec

router = router_of("pipelines")

DRY_RUN: Responses = {200: {"description": "with `dry_run`: the graph and the cost, and nothing is written"}}


@router.post("/pipelines", status_code=202, response_model=PipelineDetail, responses=DRY_RUN)
def create_pipeline(
    spec: PipelineSpec,
    here: Here,
    once: OnceOnly,
    dry_run: Annotated[bool, Query(description="only say what would run and what it costs")] = False,
) -> Response:
    """Cluster, train, generate, evaluate, segment and report on one version of a dataset."""
    if dry_run:
        with here.transaction() as session:
            return JSONResponse(plan_for(session, spec, here.settings.torch_threads).as_document())

    def work(session: Session) -> Reply:
        row = submit_pipeline(session, spec, here.settings.torch_threads)
        answer = pipelines.detail(session, row.id)
        return Reply(202, answer, f"/v1/pipelines/{row.id}", Counter(job.queue for job in answer.jobs if not job.needs))

    return once(work)


@router.get("/pipelines")
def list_pipelines(session: Reading, asked: Paged) -> Page[PipelineAnswer]:
    """Pipelines, newest first."""
    return pipelines.page(session, asked)


@router.get("/pipelines/{pipeline_id}")
def get_pipeline(pipeline_id: UUID, session: Reading) -> PipelineDetail:
    """A pipeline with its graph: what each job needs and how it stands."""
    return pipelines.detail(session, pipeline_id)


@router.post("/pipelines/{pipeline_id}/cancel", status_code=202, response_model=PipelineDetail)
def cancel_pipeline(pipeline_id: UUID, once: OnceOnly) -> Response:
    """Cancel whatever has not ended; what runs stops within a step."""

    def work(session: Session) -> Reply:
        pipelines.get(session, pipeline_id)
        states.cancel_pipeline(session, pipeline_id)
        return Reply(202, pipelines.detail(session, pipeline_id))

    return once(work)


@router.post("/pipelines/{pipeline_id}/pause", status_code=202, response_model=PipelineDetail)
def pause_pipeline(pipeline_id: UUID, once: OnceOnly) -> Response:
    """Hold whatever has not ended; what runs stops at its next checkpoint."""

    def work(session: Session) -> Reply:
        pipelines.get(session, pipeline_id)
        states.pause_pipeline(session, pipeline_id)
        return Reply(202, pipelines.detail(session, pipeline_id))

    return once(work)


@router.post("/pipelines/{pipeline_id}/resume", status_code=202, response_model=PipelineDetail)
def resume_pipeline(pipeline_id: UUID, once: OnceOnly) -> Response:
    """Go on with whatever was paused."""

    def work(session: Session) -> Reply:
        pipelines.get(session, pipeline_id)
        resumed = states.resume_pipeline(session, pipeline_id)
        return Reply(202, pipelines.detail(session, pipeline_id), rings=_waiting(resumed))

    return once(work)


@router.get("/pipelines/{pipeline_id}/events", response_class=Response, responses=STREAM)
def watch_pipeline(pipeline_id: UUID, here: Here, after: After) -> StreamingResponse:
    """Events of all its jobs, as they happen; `end` when every job has ended."""
    with here.transaction() as session:
        pipelines.get(session, pipeline_id)

    def events_after(session: Session, event_id: int) -> Sequence[Event]:
        return events.read(session, pipeline_id=pipeline_id, after_id=event_id, limit=EVENTS_AT_ONCE)

    return event_stream(here, Watched(events_after, lambda session: pipelines.status(session, pipeline_id)), after)


@router.get("/pipelines/{pipeline_id}/artifacts")
def list_artifacts_of_pipeline(pipeline_id: UUID, session: Reading, asked: Paged) -> Page[ArtifactAnswer]:
    """The files that its jobs left for people: previews, sheets, the report."""
    return jobs.artifacts_page(session, asked, pipeline_id=pipeline_id)


def _waiting(rows: Sequence[Job]) -> Counter[str]:
    return Counter(row.queue for row in rows if row.status == JobStatus.QUEUED)
