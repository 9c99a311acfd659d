"""Jobs, the pipelines they form and the events they emit. Status is written by `segsmith_shared.jobs.states` alone."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Index, text
from sqlmodel import Field, SQLModel

from segsmith_shared.database.tables.columns import (
    Document,
    document,
    identity,
    moment,
    optional_document,
    optional_moment,
)


class JobStatus(StrEnum):
    """Life of a job. `waiting for dependencies` is queued with unfinished needs, decided in SQL."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobKind(StrEnum):
    """What a job does; each kind has one step module in the service that serves its queue."""

    IMPORT = "import"
    IMPORT_WEIGHTS = "import-weights"
    IMPORT_MODEL = "import-model"
    CLUSTER = "cluster"
    TRAIN = "train"
    GENERATE = "generate"
    STYLE = "style"
    SEGMENT = "segment"
    EVALUATE = "evaluate"
    JUDGE = "judge"
    GATE = "gate"
    REPORT = "report"
    PROBE = "probe"  # does nothing but what its spec says; for tests, benchmarks and smoke checks of an installation


class Pipeline(SQLModel, table=True):
    """One request for a whole run; its graph is the jobs that carry its id."""

    id: UUID = identity()
    name: str = Field(max_length=200)
    spec: Document = document()
    plan: Document = document()  # the graph and the cost as shown before the run
    created_at: datetime = moment(index=True)


class Job(SQLModel, table=True):
    """One unit of work, claimed by one worker at a time and fenced against stale ones."""

    __table_args__ = (
        Index(
            "job_claimable",
            "queue",
            "priority",
            "created_at",
            "id",
            postgresql_where=text("status = 'queued' AND NOT waits"),
        ),
        Index("job_queued", "queue", "priority", "created_at", "id", postgresql_where=text("status = 'queued'")),
        Index("job_of_pipeline", "pipeline_id", "created_at", "id"),
        Index("job_running", "beat_at", postgresql_where=text("status = 'running'")),
        Index(
            "job_of_generation",
            text("(spec ->> 'generation_id')"),
            postgresql_where=text("kind IN ('generate', 'style') AND status <> 'succeeded'"),
        ),
    )

    id: UUID = identity()
    pipeline_id: UUID | None = Field(default=None, foreign_key="pipeline.id")
    kind: str = Field(description="a value of JobKind")
    name: str = Field(default="", max_length=200, description="what a person reads, e.g. train cluster 3 of 20")
    queue: str = Field(description="gpu or cpu")
    priority: int = Field(default=0, description="lower first")
    status: str = Field(default=JobStatus.QUEUED, index=True)
    waits: bool = Field(
        default=False,
        sa_column_kwargs={"server_default": text("false")},
        description="noted that a need is unmet; may be late, never decides alone",
    )
    spec: Document = document()
    fence: int = Field(default=0, sa_type=BigInteger, description="rises at every claim")
    attempts: int = Field(default=0, description="claims that ended without a finished slice, since the last one")
    max_attempts: int = 3
    slice_number: int = Field(default=0, description="finished slices")
    slice_state: Document | None = optional_document()  # what the next slice starts from
    wrap_up_seconds: float = Field(default=0.0, description="what ending the last slice cost: checkpoint and finish")
    claimed_by: str | None = None
    claimed_at: datetime | None = optional_moment()
    beat_at: datetime | None = optional_moment()
    not_before: datetime | None = optional_moment()
    cancel_requested: bool = False
    pause_requested: bool = False
    progress_done: int = 0
    progress_total: int = 0
    progress_unit: str = ""
    outputs: Document = document()
    problem: Document | None = optional_document()
    run_seconds: float = Field(default=0.0, description="sum over slices, claim to finish")
    peak_memory_bytes: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = moment(index=True)
    started_at: datetime | None = optional_moment()
    finished_at: datetime | None = optional_moment()


class JobDependency(SQLModel, table=True):
    """`job_id` may start when `needs_id` has succeeded, or has ended in any way where `even_if_failed`."""

    __tablename__ = "job_dependency"

    job_id: UUID = Field(foreign_key="job.id", primary_key=True)
    needs_id: UUID = Field(foreign_key="job.id", primary_key=True, index=True)
    even_if_failed: bool = Field(default=False, description="a report tells of what failed, so it waits but still runs")


class Event(SQLModel, table=True):
    """What happened to a job, in order; server-sent events replay these rows. Written by `jobs.events` alone."""

    __table_args__ = (
        Index("event_of_job", "job_id", "id"),
        Index("event_of_pipeline", "pipeline_id", "id", postgresql_where=text("pipeline_id IS NOT NULL")),
        Index("event_progress", "created_at", postgresql_where=text("kind = 'progress'")),
    )

    id: int | None = Field(default=None, sa_type=BigInteger, primary_key=True)
    job_id: UUID = Field(foreign_key="job.id")
    pipeline_id: UUID | None = None
    kind: str = Field(description="status, progress, message, figure or preview")
    data: Document = document()
    created_at: datetime = moment()


class Artifact(SQLModel, table=True):
    """A named file a job leaves for people: a preview, a sheet, the report."""

    id: UUID = identity()
    job_id: UUID = Field(foreign_key="job.id", index=True)
    name: str = Field(max_length=400)
    media_type: str
    digest: str
    size_bytes: int = Field(sa_type=BigInteger)
    created_at: datetime = moment()
