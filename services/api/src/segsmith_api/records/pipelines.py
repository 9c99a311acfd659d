"""Pipelines in Postgres; their status is what their jobs make of it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from segsmith_api.answers import PipelineAnswer, PipelineDetail
from segsmith_api.pagination import Page, PageRequest, newest_first, page_of
from segsmith_api.records import jobs
from segsmith_api.records.finding import find
from segsmith_shared.database.tables import Job, JobStatus, Pipeline

Tally = tuple[dict[str, int], datetime | None]


def get(session: Session, pipeline_id: UUID) -> Pipeline:
    return find(session, Pipeline, pipeline_id, noun="pipeline")


def detail(session: Session, pipeline_id: UUID) -> PipelineDetail:
    row = get(session, pipeline_id)
    return PipelineDetail(
        **_shown(session, [row])[0].model_dump(),
        spec=row.spec,
        plan=row.plan,
        jobs=jobs.of_pipeline(session, pipeline_id),
    )


def page(session: Session, asked: PageRequest) -> Page[PipelineAnswer]:
    """Without specs and plans, which are long where pipelines are large."""
    query = select(Pipeline).options(*(defer(column, raiseload=True) for column in (Pipeline.spec, Pipeline.plan)))  # type: ignore[arg-type]  # columns
    return page_of(session, query, newest_first(Pipeline), asked, lambda rows: _shown(session, rows))


def status(session: Session, pipeline_id: UUID) -> JobStatus:
    return status_of(_tallies(session, [pipeline_id])[pipeline_id][0])


def status_of(counts: dict[str, int]) -> JobStatus:
    """One word for a graph: what its jobs do while any has not ended, then the worst way in which one ended."""
    if counts.get(JobStatus.RUNNING):
        return JobStatus.RUNNING
    if counts.get(JobStatus.QUEUED):
        return JobStatus.RUNNING if counts.get(JobStatus.SUCCEEDED) else JobStatus.QUEUED
    for worst in (JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED):
        if counts.get(worst):
            return worst
    return JobStatus.SUCCEEDED


def _shown(session: Session, rows: Sequence[Pipeline]) -> list[PipelineAnswer]:
    tallies = _tallies(session, [row.id for row in rows])
    return [_answer(row, tallies[row.id]) for row in rows]


def _answer(row: Pipeline, tally: Tally) -> PipelineAnswer:
    counts, last_end = tally
    reached = status_of(counts)
    return PipelineAnswer(
        id=row.id,
        name=row.name,
        status=reached,
        counts=counts,
        created_at=row.created_at,
        finished_at=last_end if reached in jobs.ENDED else None,
    )


def _tallies(session: Session, pipeline_ids: Sequence[UUID]) -> dict[UUID, Tally]:
    """Jobs by status, and when the last one ended, in one query for all."""
    query = (
        select(Job.pipeline_id, Job.status, func.count(), func.max(Job.finished_at))
        .where(col(Job.pipeline_id).in_(pipeline_ids))
        .group_by(col(Job.pipeline_id), col(Job.status))
    )
    tallies: dict[UUID, Tally] = {pipeline_id: ({}, None) for pipeline_id in pipeline_ids}
    for pipeline_id, job_status, count, last_end in session.exec(query):
        if pipeline_id is not None:
            counts, latest = tallies[pipeline_id]
            ends = [moment for moment in (latest, last_end) if moment is not None]
            tallies[pipeline_id] = ({**counts, job_status: count}, max(ends, default=None))
    return tallies
