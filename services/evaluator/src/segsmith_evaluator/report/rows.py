"""Everything a pipeline left in Postgres, read in one short transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar
from uuid import UUID

from sqlmodel import Session, SQLModel, col, select

from segsmith_shared.database.among import among
from segsmith_shared.database.pairs import pairs_of
from segsmith_shared.database.tables import (
    Artifact,
    Clustering,
    Dataset,
    DatasetVersion,
    Evaluation,
    Generation,
    Job,
    JobKind,
    Model,
    Pair,
    Pipeline,
    Sample,
    SegmentationRun,
    SetJudgement,
)
from segsmith_shared.plans.specs import PartRef, PipelineSpec
from segsmith_shared.problems import NotFound

Row = TypeVar("Row", bound=SQLModel)
OfJob = TypeVar("OfJob", Clustering, Model, Evaluation, SetJudgement)


@dataclass(frozen=True)
class PartRows:
    """Real pairs of one role, with the version and dataset they come from."""

    name: str
    role: Literal["training", "validation", "test"]
    reference: PartRef
    dataset: Dataset
    version: DatasetVersion
    pairs: list[Pair]


@dataclass(frozen=True)
class Rows:
    """The rows behind one report, each list in the order it is shown."""

    pipeline: Pipeline
    spec: PipelineSpec
    parts: list[PartRows]
    jobs: list[Job]
    clusterings: list[Clustering]
    models: list[Model]
    imported_models: list[Model]
    generations: list[Generation]
    samples: dict[UUID, list[Sample]]
    evaluations: list[Evaluation]
    copy_sheets: dict[str, Artifact]
    judgements: list[SetJudgement]
    agreement_sheets: dict[str, Artifact]
    runs: list[SegmentationRun]

    @property
    def training(self) -> PartRows:
        return next(part for part in self.parts if part.role == "training")


def read_rows(session: Session, pipeline_id: UUID) -> Rows:
    """The rows of a pipeline, whole or not. Raises NotFound where it, or a version it names, is gone."""
    pipeline = session.get(Pipeline, pipeline_id)
    if pipeline is None:
        raise NotFound(f"There is no pipeline {pipeline_id}.")
    spec = PipelineSpec.model_validate(pipeline.spec)
    jobs = session.exec(
        select(Job)
        .where(Job.pipeline_id == pipeline_id, Job.kind != JobKind.REPORT)
        .order_by(col(Job.created_at), col(Job.name))
    ).all()
    generations = _generations(session, spec, pipeline_id)
    evaluations = _of_jobs(session, Evaluation, jobs)
    judgements = _of_jobs(session, SetJudgement, jobs)
    return Rows(
        pipeline=pipeline,
        spec=spec,
        parts=_parts(session, spec),
        jobs=list(jobs),
        clusterings=_of_jobs(session, Clustering, jobs),
        models=sorted(_of_jobs(session, Model, jobs), key=lambda model: (model.recipe, model.cluster or 0)),
        imported_models=_imported(session, generations),
        generations=generations,
        samples=_samples(session, generations),
        evaluations=evaluations,
        copy_sheets=_sheets(
            session, {e.job_id: (e.label, (e.metrics.get("memorisation") or {}).get("sheet")) for e in evaluations}
        ),
        judgements=judgements,
        agreement_sheets=_sheets(session, {j.job_id: (j.label, j.findings.get("sheet")) for j in judgements}),
        runs=list(
            session.exec(
                select(SegmentationRun)
                .where(SegmentationRun.pipeline_id == pipeline_id)
                .order_by(col(SegmentationRun.arm), col(SegmentationRun.seed))
            )
        ),
    )


def _parts(session: Session, spec: PipelineSpec) -> list[PartRows]:
    training = _part(session, "training pairs", "training", spec.pairs)
    validation = [_part(session, "validation pairs", "validation", spec.validation)] if spec.validation else []
    return [training, *validation, *(_part(session, test.name, "test", test.pairs) for test in spec.tests)]


def _part(session: Session, name: str, role: Literal["training", "validation", "test"], reference: PartRef) -> PartRows:
    pairs = pairs_of(session, reference)
    version = _known(session, DatasetVersion, reference.version_id)
    return PartRows(name, role, reference, _known(session, Dataset, version.dataset_id), version, pairs)


def _known(session: Session, table: type[Row], id_: UUID) -> Row:
    row = session.get(table, id_)
    if row is None:
        raise NotFound(f"There is no {table.__name__} {id_}.")
    return row


def _of_jobs(session: Session, table: type[OfJob], jobs: Sequence[Job]) -> list[OfJob]:
    ids = [job.id for job in jobs]
    return list(session.exec(select(table).where(among(col(table.job_id), ids)).order_by(col(table.created_at))))


def _sheets(session: Session, names: Mapping[UUID, tuple[str, str | None]]) -> dict[str, Artifact]:
    """The sheet of pictures that each job left, by the label of its set; `names` maps a job to label and artifact."""
    found = session.exec(select(Artifact).where(among(col(Artifact.job_id), names))).all()
    return {names[item.job_id][0]: item for item in found if item.name == names[item.job_id][1]}


def _generations(session: Session, spec: PipelineSpec, pipeline_id: UUID) -> list[Generation]:
    """In the order of the request's recipes."""
    found = session.exec(select(Generation).where(Generation.pipeline_id == pipeline_id)).all()
    place = {recipe.name: index for index, recipe in enumerate(spec.recipes)}
    return sorted(found, key=lambda generation: place.get(generation.recipe, len(place)))


def _imported(session: Session, generations: Iterable[Generation]) -> list[Model]:
    """The models that the generations drew with and that no job of the pipeline trained, each once."""
    wanted = [UUID(model_id) for generation in generations for model_id in generation.spec.get("model_ids", ())]
    rows = {row.id: row for row in session.exec(select(Model).where(col(Model.id).in_(wanted)))} if wanted else {}
    return [rows[model_id] for model_id in dict.fromkeys(wanted) if model_id in rows]


def _samples(session: Session, generations: Iterable[Generation]) -> dict[UUID, list[Sample]]:
    """Samples by generation, in the order of their sources."""
    return {
        generation.id: list(
            session.exec(
                select(Sample)
                .join(Pair, col(Pair.id) == col(Sample.source_pair_id))
                .where(Sample.generation_id == generation.id)
                .order_by(col(Sample.sample_index), col(Pair.position))
            )
        )
        for generation in generations
    }
