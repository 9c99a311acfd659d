"""`segsmith job`: single units of work."""

from collections.abc import Callable
from itertools import islice
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from segsmith.command.invocation import Invocation, Shown, application, command
from segsmith.command.tables import duration, fields, moment, size, table
from segsmith.values import Job

app = application("Look at jobs and steer them.")

JobArgument = Annotated[UUID, typer.Argument(help="Id of a job.")]


@command(app, "list")
def list_(
    here: Invocation,
    pipeline: Annotated[UUID | None, typer.Option()] = None,
    kind: Annotated[str | None, typer.Option()] = None,
    status: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
) -> Shown:
    """Jobs, newest first."""
    found = list(islice(here.client.jobs.list(pipeline_id=pipeline, kind=kind, status=status), limit))
    return Shown(found, job_table(found))


@command(app, "show")
def show(here: Invocation, job: JobArgument) -> Shown:
    """Everything about a job."""
    found = here.client.jobs.get(job)
    return Shown(found, fields(_told(found)))


@command(app, "events")
def events(here: Invocation, job: JobArgument) -> Shown:
    """What happened to a job, until it ends."""
    found = []
    for event in here.client.jobs.events(job):
        found.append(event)
        if not here.as_json:
            here.note(f"{moment(event.created_at)}  {event.kind:9} {event.data}")
    return Shown(found, f"{len(found)} events")


def _steering(verb: str, meaning: str, act: Callable[[Invocation, UUID], Job]) -> None:
    def steer(here: Invocation, job: JobArgument) -> Shown:
        steered = act(here, job)
        return Shown(steered, f"{steered.name or steered.kind}: {steered.status}")

    steer.__doc__ = meaning
    command(app, verb)(steer)


_steering("cancel", "Stop a job for good, within one step.", lambda here, job: here.client.jobs.cancel(job))
_steering("pause", "Stop a job at its next step; nothing is lost.", lambda here, job: here.client.jobs.pause(job))
_steering("resume", "Go on with a paused job.", lambda here, job: here.client.jobs.resume(job))
_steering("retry", "Try a failed or cancelled job again.", lambda here, job: here.client.jobs.retry(job))


def job_table(jobs: list[Job]) -> Table:
    """Jobs for people."""
    rows = [(j.id, j.kind, j.name, j.status, _how_far(j), duration(j.run_seconds)) for j in jobs]
    return table(("job", "kind", "name", "status", ">progress", ">time"), rows)


def _how_far(job: Job) -> str:
    progress = job.progress
    return f"{progress.done}/{progress.total} {progress.unit}" if progress.total else ""


def _told(job: Job) -> dict[str, object]:
    told: dict[str, object] = {
        "job": job.id,
        "pipeline": job.pipeline_id,
        "kind": job.kind,
        "name": job.name,
        "status": job.status,
        "progress": _how_far(job),
        "slices": job.slice_number,
        "time": duration(job.run_seconds),
        "peak memory": size(job.peak_memory_bytes),
        "started": moment(job.started_at),
        "finished": moment(job.finished_at),
        "outputs": job.outputs or None,
    }
    if job.problem:
        told["problem"] = f"{job.problem.title}: {job.problem.detail} {job.problem.hint}"
    return told
