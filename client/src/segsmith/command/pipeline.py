"""`segsmith pipeline` and `segsmith watch`: whole runs."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.text import Text

from segsmith.command.invocation import Invocation, Shown, application, command
from segsmith.command.job import job_table
from segsmith.command.results import Results, collect, watch_to_the_end
from segsmith.command.tables import fields, moment, table
from segsmith.values import Pipeline
from segsmith_shared.plans.specs import PipelineSpec
from segsmith_shared.problems import InvalidInput

app = application("Submit, look at and cancel whole runs.")

SHOWN_NEEDS = 3

PipelineArgument = Annotated[UUID, typer.Argument(help="Id of a pipeline.")]
OutputOption = Annotated[Path | None, typer.Option(help="Folder for the report and the sets.")]


@command(app, "submit")
def submit(
    here: Invocation,
    spec: Annotated[Path, typer.Argument(help="JSON file: the body of POST /v1/pipelines.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only the graph and the cost.")] = False,
) -> Shown:
    """Submit a pipeline written as JSON."""
    wanted = _read_spec(spec)
    if dry_run:
        plan = here.client.pipelines.plan(wanted)
        return Shown(plan, plan_in_words(plan))
    submitted = here.client.pipelines.submit(wanted)
    return Shown(submitted, f"Pipeline {submitted.id}\nWatch it: segsmith watch {submitted.id}")


@command(app, "list")
def list_(
    here: Invocation,
    status: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
) -> Shown:
    """Pipelines, newest first."""
    wanted = (each for each in here.client.pipelines.list() if status in {None, each.status})
    found = list(islice(wanted, limit))
    rows = [(p.id, p.name, p.status, _told_counts(p), moment(p.created_at), moment(p.finished_at)) for p in found]
    return Shown(found, table(("pipeline", "name", "status", "jobs", "created", "finished"), rows))


@command(app, "show")
def show(here: Invocation, pipeline: PipelineArgument) -> Shown:
    """A pipeline and its jobs."""
    found = here.client.pipelines.get(pipeline)
    head = fields(
        {"pipeline": found.id, "name": found.name, "status": found.status, "created": moment(found.created_at)}
    )
    return Shown(found, Group(head, job_table(list(found.jobs))))


@command(app, "cancel")
def cancel(here: Invocation, pipeline: PipelineArgument) -> Shown:
    """Stop a pipeline for good; what its finished jobs made stays."""
    cancelled = here.client.pipelines.cancel(pipeline)
    return Shown(cancelled, f"Pipeline {cancelled.name}: {cancelled.status}")


@command(app, "pause")
def pause(here: Invocation, pipeline: PipelineArgument) -> Shown:
    """Hold every unfinished job at its next step; nothing is lost."""
    paused = here.client.pipelines.pause(pipeline)
    return Shown(paused, f"Pipeline {paused.name}: {paused.status}")


@command(app, "resume")
def resume(here: Invocation, pipeline: PipelineArgument) -> Shown:
    """Go on with a paused pipeline."""
    resumed = here.client.pipelines.resume(pipeline)
    return Shown(resumed, f"Pipeline {resumed.name}: {resumed.status}")


def watch(here: Invocation, pipeline: PipelineArgument, output: OutputOption = None) -> Shown:
    """Follow a pipeline to its end, then show what came of it and, with --output, take it home."""
    watch_to_the_end(here, pipeline)
    return shown_results(collect(here, pipeline, output))


def register_watch(whole: typer.Typer) -> None:
    """`segsmith watch` is short for `segsmith pipeline watch`."""
    command(app, "watch")(watch)
    command(whole, "watch")(watch)


def shown_results(results: Results) -> Shown:
    """What came of a pipeline; bad news unless every job succeeded."""
    return Shown(results.document(), results.words(), exit_code=0 if results.pipeline.status == "succeeded" else 1)


def plan_in_words(plan: dict[str, Any]) -> Group:
    """The graph and the cost of a pipeline that has not run."""
    jobs = [(job["name"], job["kind"], job["queue"], _few(job["needs"])) for job in plan["jobs"]]
    cost = [(line["what"], *_amount(line["amount"], line["unit"])) for line in plan["cost"]]
    parts: list[RenderableType] = [table(("job", "kind", "queue", "after"), jobs), table(("cost", ">amount", ""), cost)]
    if notes := [*plan.get("notes", ()), *_differences(plan)]:
        parts.append(Text("\n".join(f"- {note}" for note in notes)))
    return Group(*parts)


def _differences(plan: Mapping[str, Any]) -> list[str]:
    return [f"otherwise than the authors' code: {each}" for each in plan.get("differs_from_authors", ())]


def _few(names: list[str]) -> str:
    more = len(names) - SHOWN_NEEDS
    return ", ".join(names[:SHOWN_NEEDS]) + (f" and {more} more" if more > 0 else "")


def _amount(amount: int, unit: str) -> tuple[str, str]:
    return (f"{amount / 1e12:,.3g}", "TFLOP") if unit == "FLOP" else (f"{amount:,}", unit)


def _told_counts(pipeline: Pipeline) -> str:
    return ", ".join(f"{count} {status}" for status, count in pipeline.counts.items())


def _read_spec(file: Path) -> PipelineSpec:
    try:
        return PipelineSpec.model_validate_json(file.read_bytes())
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise InvalidInput(f"{file}: {faults}") from error
