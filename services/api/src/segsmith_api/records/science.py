"""What the jobs leave behind, read only: clusterings, models, generations, samples, figures and judgements of sets."""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.orm import defer
from sqlmodel import Session, SQLModel, col, select

from segsmith_api.answers import (
    Answer,
    ClusteringAnswer,
    ClusteringDetail,
    EvaluationAnswer,
    GenerationAnswer,
    JudgeAnswer,
    JudgeDetail,
    JudgementAnswer,
    ModelAnswer,
    SampleAnswer,
    SegmentationRunAnswer,
    SegmentationRunDetail,
)
from segsmith_api.pagination import Order, Page, PageRequest, newest_first, page_of
from segsmith_api.records.finding import check_exists, find
from segsmith_shared.database.tables import (
    Clustering,
    DatasetVersion,
    Evaluation,
    Generation,
    Job,
    Judge,
    Model,
    Pair,
    Sample,
    SegmentationRun,
    SetJudgement,
)

Shown = TypeVar("Shown", bound=Answer)


def clusterings_page(session: Session, asked: PageRequest, pipeline_id: UUID | None) -> Page[ClusteringAnswer]:
    return _of_jobs(session, asked, Clustering, ClusteringAnswer, pipeline_id, left_out=[col(Clustering.assignments)])


def clustering(session: Session, clustering_id: UUID) -> ClusteringDetail:
    return ClusteringDetail.model_validate(find(session, Clustering, clustering_id, noun="clustering"))


def models_page(
    session: Session, asked: PageRequest, pipeline_id: UUID | None, job_id: UUID | None
) -> Page[ModelAnswer]:
    return _of_jobs(session, asked, Model, ModelAnswer, pipeline_id, job_id)


def model(session: Session, model_id: UUID) -> ModelAnswer:
    return ModelAnswer.model_validate(find(session, Model, model_id, noun="model"))


def evaluations_page(session: Session, asked: PageRequest, pipeline_id: UUID | None) -> Page[EvaluationAnswer]:
    return _of_jobs(session, asked, Evaluation, EvaluationAnswer, pipeline_id)


def evaluation(session: Session, evaluation_id: UUID) -> EvaluationAnswer:
    return EvaluationAnswer.model_validate(find(session, Evaluation, evaluation_id, noun="evaluation"))


def judges_page(session: Session, asked: PageRequest, pipeline_id: UUID | None) -> Page[JudgeAnswer]:
    return _of_jobs(session, asked, Judge, JudgeAnswer, pipeline_id)


def judge(session: Session, judge_id: UUID) -> JudgeDetail:
    return JudgeDetail.model_validate(find(session, Judge, judge_id, noun="judge"))


def judgements_page(session: Session, asked: PageRequest, pipeline_id: UUID | None) -> Page[JudgementAnswer]:
    return _of_jobs(session, asked, SetJudgement, JudgementAnswer, pipeline_id)


def judgement(session: Session, judgement_id: UUID) -> JudgementAnswer:
    return JudgementAnswer.model_validate(find(session, SetJudgement, judgement_id, noun="judgement"))


def segmentation_runs_page(
    session: Session, asked: PageRequest, pipeline_id: UUID | None
) -> Page[SegmentationRunAnswer]:
    return _of_jobs(session, asked, SegmentationRun, SegmentationRunAnswer, pipeline_id)


def segmentation_run(session: Session, run_id: UUID) -> SegmentationRunDetail:
    return SegmentationRunDetail.model_validate(find(session, SegmentationRun, run_id, noun="segmentation run"))


def generations_page(session: Session, asked: PageRequest, pipeline_id: UUID | None) -> Page[GenerationAnswer]:
    query = select(Generation)
    if pipeline_id is not None:
        query = query.where(Generation.pipeline_id == pipeline_id)
    return page_of(
        session, query, newest_first(Generation), asked, lambda rows: [GenerationAnswer.model_validate(r) for r in rows]
    )


def generation(session: Session, generation_id: UUID) -> GenerationAnswer:
    return GenerationAnswer.model_validate(find(session, Generation, generation_id, noun="generation"))


def samples_page(
    session: Session, asked: PageRequest, generation_id: UUID, accepted: bool | None
) -> Page[SampleAnswer]:
    check_exists(session, Generation, generation_id, noun="generation")
    query = select(Sample).where(Sample.generation_id == generation_id)
    if accepted is not None:
        query = query.where(Sample.accepted == accepted)
    order = (Order(Sample.sample_index), Order(Sample.source_pair_id))
    return page_of(session, query, order, asked, lambda rows: [SampleAnswer.of(row) for row in rows])


def sample(session: Session, sample_id: UUID) -> Sample:
    return find(session, Sample, sample_id, noun="sample")


def provenance_of(session: Session, version: DatasetVersion, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """What is known of where each pair comes from: its file, and for a synthetic one the whole making of its sample."""
    made = _samples_of(session, version, pairs)
    return [
        {
            "name": pair.name,
            "origin": version.origin,
            "version_id": str(version.id),
            "image_sha256": pair.image_digest,
            "label_sha256": pair.label_digest,
            **made.get(pair.name, {}),
        }
        for pair in pairs
    ]


def _samples_of(session: Session, version: DatasetVersion, pairs: Sequence[Pair]) -> dict[str, dict[str, Any]]:
    """For pairs of a synthetic set, named source~N: their samples by that name."""
    generation_id, index = version.provenance.get("generation_id"), version.provenance.get("sample_index")
    if generation_id is None:
        return {}
    sources = [pair.name.rpartition("~")[0] for pair in pairs]
    query = (
        select(Sample, Pair.name)
        .join(Pair, col(Sample.source_pair_id) == col(Pair.id))
        .where(Sample.generation_id == UUID(generation_id), Sample.sample_index == index, col(Pair.name).in_(sources))
    )
    told = {"source_pair_id", "model_id", "cluster", "sample_index", "seed", "evaluations", "provenance", "agreement"}
    return {
        f"{source}~{index}": {"source": source, "sample": sample.model_dump(mode="json", include=told)}
        for sample, source in session.exec(query)
    }


def _of_jobs(
    session: Session,
    asked: PageRequest,
    table: type[SQLModel],
    answer: type[Shown],
    pipeline_id: UUID | None,
    job_id: UUID | None = None,
    *,
    left_out: Sequence[Any] = (),
) -> Page[Shown]:
    """The rows of `table` that the jobs of a pipeline left, newest first; columns `left_out` are not read."""
    rows: Any = table
    query = select(rows).options(*(defer(column, raiseload=True) for column in left_out))
    if pipeline_id is not None:
        query = query.where(col(rows.job_id).in_(select(Job.id).where(Job.pipeline_id == pipeline_id)))
    if job_id is not None:
        query = query.where(rows.job_id == job_id)
    return page_of(
        session, query, newest_first(rows), asked, lambda found: [answer.model_validate(row) for row in found]
    )
