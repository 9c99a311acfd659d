"""What came of a pipeline: watched to its end, taken home and summed up."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import typer
from rich.console import Group, RenderableType

from segsmith.command.invocation import Invocation
from segsmith.command.progress import Board, view_on
from segsmith.command.tables import (
    agreement_summary,
    agreement_table,
    fields,
    metrics_table,
    segmentation_summary,
    segmentation_table,
    size,
    stage_table,
    stages,
)
from segsmith.values import Evaluation, Generation, Judgement, Pipeline, SegmentationRun
from segsmith_shared.pairs.archives import extract_archive
from segsmith_shared.plans.synthetic_sets import sample_set_name

REPORT = "report.html"
INTERRUPTED = 130  # what a shell reports for Ctrl-C


@dataclass(frozen=True)
class Results:
    """A pipeline that has ended, what it measured, and the files that were taken home."""

    pipeline: Pipeline
    generations: list[Generation]
    evaluations: list[Evaluation]
    judgements: list[Judgement]
    segmentation_runs: list[SegmentationRun]
    files: dict[str, Path] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """All of it as one JSON document."""
        return {
            "pipeline_id": self.pipeline.id,
            "name": self.pipeline.name,
            "status": self.pipeline.status,
            "problems": self._problems(),
            "stages": stages(self.pipeline.jobs),
            "sets": self._sets(),
            "evaluations": {each.label: each.metrics for each in self.evaluations},
            "agreement": agreement_summary(self.judgements),
            "segmentation": segmentation_summary(self.segmentation_runs),
            "files": self.files,
        }

    def words(self) -> RenderableType:
        """The same for a person, pictures' places last."""
        parts: list[RenderableType] = [stage_table(stages(self.pipeline.jobs))]
        if made := self._sets():
            told = {s["recipe"]: _told_counts(s["counts"]) for s in made}
            parts += ["Synthetic pairs", fields(told), ""]
        if self.evaluations:
            parts.append(metrics_table(self.evaluations))
        if self.judgements:
            parts.append(agreement_table(agreement_summary(self.judgements)))
        if self.segmentation_runs:
            parts.append(segmentation_table(segmentation_summary(self.segmentation_runs)))
        parts += [f"{name}: {problem}" for name, problem in self._problems().items()]
        parts.append(f"Pipeline {self.pipeline.id}: {self.pipeline.status}")
        parts.append(fields(self.files))
        return Group(*parts)

    def _sets(self) -> list[dict[str, Any]]:
        return [{"recipe": g.recipe, "version_ids": g.version_ids, "counts": g.counts} for g in self.generations]

    def _problems(self) -> dict[str, str]:
        return {
            job.name: f"{job.problem.title}: {job.problem.detail} {job.problem.hint}".strip()
            for job in self.pipeline.jobs
            if job.problem and job.status != "succeeded"
        }


def watch_to_the_end(here: Invocation, pipeline_id: UUID, *, cancel_on_interrupt: bool = False) -> None:
    """Show the jobs of a pipeline until all have ended.

    Ctrl-C ends the watching: the run goes on, unless told otherwise, and a person is told how to come back.
    """
    try:
        with view_on(here.progress) as view:
            board = Board(view, lambda: here.client.pipelines.get(pipeline_id).jobs)
            for event in here.client.pipelines.events(pipeline_id):
                board.take(event)
    except KeyboardInterrupt:
        if cancel_on_interrupt:
            here.client.pipelines.cancel(pipeline_id)
            here.note(f"Cancelled pipeline {pipeline_id}.")
        else:
            here.note(f"The run goes on. Come back with: segsmith watch {pipeline_id}")
            here.note(f"Cancel it with: segsmith pipeline cancel {pipeline_id}")
        raise typer.Exit(INTERRUPTED) from None


def collect(here: Invocation, pipeline_id: UUID, output: Path | None) -> Results:
    """Read what a pipeline measured; with `output`, download the report, its pictures and the synthetic sets."""
    client = here.client
    found = Results(
        pipeline=client.pipelines.get(pipeline_id),
        generations=list(client.generations.list(pipeline_id=pipeline_id)),
        evaluations=list(client.evaluations.list(pipeline_id=pipeline_id)),
        judgements=list(client.judgements.list(pipeline_id=pipeline_id)),
        segmentation_runs=list(client.segmentation_runs.list(pipeline_id=pipeline_id)),
    )
    if output is not None:
        found.files.update(_take_report(here, found.pipeline, output))
        for generation in found.generations:
            found.files.update(_take_sets(here, generation, output))
    return found


def _take_report(here: Invocation, pipeline: Pipeline, output: Path) -> dict[str, Path]:
    """The files of the report job: the page, its figures as JSON, and the sheets of pictures."""
    jobs = [job for job in pipeline.jobs if job.kind == "report" and job.status == "succeeded"]
    taken = {}
    for job in jobs:
        for artifact in here.client.jobs.artifacts(job.id):
            name = Path(artifact.name).name  # a name from the server chooses no folder on this machine
            file = here.client.artifacts.download(artifact, output / name)
            taken["report" if name == REPORT else name] = file.absolute()
    return dict(sorted(taken.items(), key=lambda item: item[0] != "report"))


def _take_sets(here: Invocation, generation: Generation, output: Path) -> dict[str, Path]:
    """Each set as a folder of images and masks."""
    taken = {}
    for number, version_id in sorted(generation.version_ids.items()):
        name = sample_set_name(generation.recipe, int(number))
        archive = here.client.versions.download(version_id, output / "sets" / f"{name}.zip")
        here.note(f"Set {name}: {size(archive.stat().st_size)}")
        extract_archive(archive, output / "sets" / name)
        archive.unlink()
        taken[f"set {name}"] = (output / "sets" / name).absolute()
    return taken


def _told_counts(counts: dict[str, Any]) -> str:
    rejected = counts.get("rejected") or {}
    told = f"{counts.get('accepted', 0)} of {counts.get('requested', 0)} accepted"
    return told + "".join(f", {count} {reason}" for reason, count in rejected.items())
