"""The report job: one page about a pipeline, its contact sheets as files, and every figure as JSON."""

from datetime import UTC, datetime

from segsmith_evaluator.report.gather import facts_of
from segsmith_evaluator.report.page import render_page
from segsmith_evaluator.report.picking import measured_labels, pictures_of
from segsmith_evaluator.report.pictures import Pictures
from segsmith_evaluator.report.rows import read_rows
from segsmith_evaluator.report.sheets import sheet_png
from segsmith_shared.jobs.context import Finished, Outcome, StepContext, Stopped
from segsmith_shared.plans.specs import ReportJobSpec

StoredFile = tuple[str, str, str, int]


class _StopAsked(Exception):
    """Somebody wants the job to end; a report is short and simply starts again."""


def run(context: StepContext) -> Outcome:
    """One slice. Works on whatever the pipeline left: parts that are missing or failed are said so on the page."""
    spec = ReportJobSpec.model_validate(context.spec)
    with context.reading() as session:
        rows = read_rows(session, spec.pipeline_id)

    def on_progress(done: int, total: int) -> None:
        context.progress(done, total, "samples")
        if context.stop_requested():
            raise _StopAsked

    try:
        labels = measured_labels(rows, context.objects, on_progress)
    except _StopAsked:
        return Stopped(state={})
    facts = facts_of(rows, labels, datetime.now(UTC))
    pictures = pictures_of(rows, context.objects)
    page = render_page(facts, pictures).encode()
    files = [
        _stored(context, "report.html", "text/html; charset=utf-8", page),
        _stored(context, "report.json", "application/json", facts.model_dump_json(indent=2).encode()),
        *_sheets(context, pictures),
        *((item.name, item.media_type, item.digest, item.size_bytes) for item in rows.copy_sheets.values()),
    ]
    return Finished(outputs={"report_digest": files[0][2], "size_bytes": len(page)}, artifacts=files)


def _sheets(context: StepContext, pictures: Pictures) -> list[StoredFile]:
    return [
        _stored(context, f"sheet-{item.label}.png", "image/png", sheet_png(item.accepted))
        for item in pictures.sets
        if item.accepted
    ]


def _stored(context: StepContext, name: str, media_type: str, data: bytes) -> StoredFile:
    return name, media_type, context.objects.put_bytes(data, media_type), len(data)
