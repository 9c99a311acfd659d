"""What the jobs left: clusterings, models, generations with their samples, and what was measured on them."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query, Request, Response

from segsmith_api.answers import (
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
from segsmith_api.dependencies import Here, Paged, Reading
from segsmith_api.object_responses import object_response
from segsmith_api.pagination import Page
from segsmith_api.records import science
from segsmith_api.routes import router_of
from segsmith_api.routes.pairs import JPEG, PICTURES, PNG

router = router_of("science")

OfPipeline = Annotated[UUID | None, Query(alias="pipeline_id", description="only what this pipeline's jobs left")]
Face = Literal["image", "label", "region", "source", "source-label", "thumbnail", "overlay"]


@router.get("/clusterings")
def list_clusterings(session: Reading, asked: Paged, pipeline_id: OfPipeline = None) -> Page[ClusteringAnswer]:
    """Clusterings, newest first."""
    return science.clusterings_page(session, asked, pipeline_id)


@router.get("/clusterings/{clustering_id}")
def get_clustering(clustering_id: UUID, session: Reading) -> ClusteringDetail:
    """One clustering, with the cluster of every pair."""
    return science.clustering(session, clustering_id)


@router.get("/models")
def list_models(
    session: Reading, asked: Paged, pipeline_id: OfPipeline = None, job_id: UUID | None = None
) -> Page[ModelAnswer]:
    """Trained diffusion models, newest first."""
    return science.models_page(session, asked, pipeline_id, job_id)


@router.get("/models/{model_id}")
def get_model(model_id: UUID, session: Reading) -> ModelAnswer:
    """One model with the preset that ran and its loss curve."""
    return science.model(session, model_id)


@router.get("/generations")
def list_generations(session: Reading, asked: Paged, pipeline_id: OfPipeline = None) -> Page[GenerationAnswer]:
    """Generations, newest first."""
    return science.generations_page(session, asked, pipeline_id)


@router.get("/generations/{generation_id}")
def get_generation(generation_id: UUID, session: Reading) -> GenerationAnswer:
    """One generation: its sets as versions, and how many samples were accepted."""
    return science.generation(session, generation_id)


@router.get("/generations/{generation_id}/samples")
def list_samples(
    generation_id: UUID, session: Reading, asked: Paged, accepted: bool | None = None
) -> Page[SampleAnswer]:
    """Samples with their provenance, rejected ones too."""
    return science.samples_page(session, asked, generation_id, accepted)


@router.get("/samples/{sample_id}")
def get_sample(sample_id: UUID, session: Reading) -> SampleAnswer:
    """One sample."""
    return SampleAnswer.of(science.sample(session, sample_id))


@router.get("/samples/{sample_id}/{face}", response_class=Response, responses=PICTURES)
def get_sample_picture(sample_id: UUID, face: Face, request: Request, here: Here) -> Response:
    """The sample, its label, the redraw region, or its source as the model saw it."""
    with here.transaction() as session:
        row = science.sample(session, sample_id)
    media_type = JPEG if face in {"thumbnail", "overlay"} else PNG
    digest = getattr(row, f"{face.replace('-', '_')}_digest")
    filename = f"{sample_id}-{face}.{media_type.partition('/')[2]}"
    return object_response(request, here.objects, digest, media_type, filename)


@router.get("/evaluations")
def list_evaluations(session: Reading, asked: Paged, pipeline_id: OfPipeline = None) -> Page[EvaluationAnswer]:
    """Metrics of synthetic sets, newest first."""
    return science.evaluations_page(session, asked, pipeline_id)


@router.get("/evaluations/{evaluation_id}")
def get_evaluation(evaluation_id: UUID, session: Reading) -> EvaluationAnswer:
    """The metrics of one synthetic set."""
    return science.evaluation(session, evaluation_id)


@router.get("/judges")
def list_judges(session: Reading, asked: Paged, pipeline_id: OfPipeline = None) -> Page[JudgeAnswer]:
    """Judges of quality gates, newest first."""
    return science.judges_page(session, asked, pipeline_id)


@router.get("/judges/{judge_id}")
def get_judge(judge_id: UUID, session: Reading) -> JudgeDetail:
    """One judge, with the pairs it was trained on and its agreement with the real pairs it never saw."""
    return science.judge(session, judge_id)


@router.get("/judgements")
def list_judgements(session: Reading, asked: Paged, pipeline_id: OfPipeline = None) -> Page[JudgementAnswer]:
    """What quality gates found of synthetic sets, newest first."""
    return science.judgements_page(session, asked, pipeline_id)


@router.get("/judgements/{judgement_id}")
def get_judgement(judgement_id: UUID, session: Reading) -> JudgementAnswer:
    """The agreement of every sample of one set, and of real pairs under the same rule."""
    return science.judgement(session, judgement_id)


@router.get("/segmentation-runs")
def list_segmentation_runs(
    session: Reading, asked: Paged, pipeline_id: OfPipeline = None
) -> Page[SegmentationRunAnswer]:
    """Segmentation models with their scores, newest first."""
    return science.segmentation_runs_page(session, asked, pipeline_id)


@router.get("/segmentation-runs/{run_id}")
def get_segmentation_run(run_id: UUID, session: Reading) -> SegmentationRunDetail:
    """One segmentation model, with the list of pairs it was trained on."""
    return science.segmentation_run(session, run_id)
