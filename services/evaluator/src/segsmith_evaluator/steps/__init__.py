"""One module per job kind of the cpu queue: read inputs, call the science, write outputs."""

from segsmith_shared.database.tables import JobKind

STEPS: dict[JobKind, str] = {
    JobKind.IMPORT: "segsmith_evaluator.steps.importing:run",
    JobKind.EVALUATE: "segsmith_evaluator.steps.evaluate:run",
    JobKind.REPORT: "segsmith_evaluator.steps.report:run",
    JobKind.PROBE: "segsmith_shared.jobs.probe:run",
}
PRELOAD: list[str] = [
    "segsmith_evaluator.steps.importing",
    "segsmith_evaluator.steps.evaluate",
    "segsmith_evaluator.steps.report",
]
"""Imported once by the forkserver, so that a job's child starts in milliseconds; imports only, no tensor work."""
