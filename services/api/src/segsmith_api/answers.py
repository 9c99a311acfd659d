"""What the API shows of each noun: explicit values, so that a new column of a table is never shown by accident."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from segsmith_shared.database.tables import (
    Artifact,
    Dataset,
    Job,
    Pair,
    PretrainedFile,
    Sample,
    Split,
    Upload,
    UploadPart,
)
from segsmith_shared.plans.weights import PretrainedWeights

Document = dict[str, Any]


class Answer(BaseModel):
    """A value read from a row's attributes of the same names."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class DatasetAnswer(Answer):
    id: UUID
    name: str
    description: str
    created_at: datetime
    version_count: int
    latest_version_id: UUID | None

    @classmethod
    def of(cls, row: Dataset, version_count: int = 0, latest_version_id: UUID | None = None) -> Self:
        return cls(
            id=row.id,
            name=row.name,
            description=row.description,
            created_at=row.created_at,
            version_count=version_count,
            latest_version_id=latest_version_id,
        )


class PartAnswer(Answer):
    """A stored part of an upload."""

    number: int
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, row: UploadPart) -> Self:
        return cls(number=row.number, size_bytes=row.size_bytes, sha256=row.digest)


class UploadAnswer(Answer):
    """How far an upload is: send what is `missing`, then close it."""

    id: UUID
    dataset_id: UUID | None = Field(description="null: weights, which belong to no dataset")
    filename: str
    size_bytes: int
    part_bytes: int = Field(description="size of every part but the last")
    part_count: int
    parts: list[PartAnswer]
    missing: list[int]
    sha256: str | None
    created_at: datetime
    closed_at: datetime | None
    import_job_id: UUID | None

    @classmethod
    def of(cls, row: Upload, parts: list[UploadPart], part_count: int, import_job_id: UUID | None) -> Self:
        there = {part.number for part in parts}
        return cls(
            **row.model_dump(include=set(cls.model_fields)),
            part_count=part_count,
            parts=[PartAnswer.of(part) for part in parts],
            missing=[number for number in range(part_count) if number not in there],
            import_job_id=import_job_id,
        )


class VersionAnswer(Answer):
    """An immutable list of pairs."""

    id: UUID
    dataset_id: UUID
    number: int
    label: str
    origin: str
    pair_count: int
    digest: str
    class_names: list[str] = Field(description="of label values 1, 2 …; empty where labels are lesion or not")
    provenance: Document
    created_by_job_id: UUID | None
    created_at: datetime


class PairAnswer(Answer):
    """An image and its label; the addresses serve their bytes."""

    id: UUID
    version_id: UUID
    position: int
    name: str
    width_px: int
    height_px: int
    lesion_fraction: float
    lesion_count: int
    near_duplicate_group: int | None
    image_url: str
    label_url: str
    thumbnail_url: str
    overlay_url: str

    @classmethod
    def of(cls, row: Pair) -> Self:
        faces = {f"{face}_url": f"/v1/pairs/{row.id}/{face}" for face in ("image", "label", "thumbnail", "overlay")}
        return cls(**row.model_dump(include=set(cls.model_fields)), **faces)


class SplitAnswer(Answer):
    id: UUID
    version_id: UUID
    name: str
    parameters: Document
    counts: dict[str, int]
    parts: dict[str, list[UUID]] = Field(description="part name to the ids of its pairs, in order")
    created_at: datetime

    @classmethod
    def of(cls, row: Split) -> Self:
        counts = {part: len(ids) for part, ids in row.parts.items()}
        return cls(**row.model_dump(include=set(cls.model_fields)), counts=counts)


class Progress(Answer):
    done: int
    total: int
    unit: str


class JobAnswer(Answer):
    """A job as its lists show it."""

    id: UUID
    pipeline_id: UUID | None
    kind: str
    name: str
    queue: str
    status: str = Field(description="queued, running, paused, succeeded, failed or cancelled")
    needs: list[UUID] = Field(description="the jobs that must have succeeded before this one starts")
    cancel_requested: bool
    pause_requested: bool
    attempts: int
    max_attempts: int
    slice_number: int
    progress: Progress
    outputs: Document
    problem: Document | None
    run_seconds: float
    peak_memory_bytes: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Job, needs: list[UUID]) -> Self:
        progress = Progress(done=row.progress_done, total=row.progress_total, unit=row.progress_unit)
        return cls(**row.model_dump(include=set(cls.model_fields)), needs=needs, progress=progress)


class JobDetail(JobAnswer):
    """A job with everything it was told."""

    spec: Document


class PipelineAnswer(Answer):
    """A pipeline as its list shows it."""

    id: UUID
    name: str
    status: str = Field(description="derived from its jobs: queued, running, paused, succeeded, failed or cancelled")
    counts: dict[str, int] = Field(description="jobs by status")
    created_at: datetime
    finished_at: datetime | None


class PipelineDetail(PipelineAnswer):
    """A pipeline with its request, its plan and its graph: jobs that name the jobs they need."""

    spec: Document
    plan: Document
    jobs: list[JobAnswer]


class CheckpointAnswer(Answer):
    id: UUID
    job_id: UUID
    images_seen: int
    size_bytes: int
    milestone: bool
    created_at: datetime


class ArtifactAnswer(Answer):
    id: UUID
    job_id: UUID
    name: str
    media_type: str
    size_bytes: int
    digest: str
    created_at: datetime
    url: str

    @classmethod
    def of(cls, row: Artifact) -> Self:
        return cls(**row.model_dump(include=set(cls.model_fields)), url=f"/v1/artifacts/{row.id}")


class ClusteringAnswer(Answer):
    id: UUID
    version_id: UUID
    job_id: UUID
    cluster_count: int
    method: str
    extractor: Document
    report: Document
    created_at: datetime


class ClusteringDetail(ClusteringAnswer):
    assignments: Document = Field(description="pair id to cluster")


class ModelAnswer(Answer):
    id: UUID
    job_id: UUID
    recipe: str
    clustering_id: UUID | None
    cluster: int | None
    preset: Document
    images_seen: int
    training_images: int
    weights: str
    curve: Document
    created_at: datetime


class StoredWeightsAnswer(Answer):
    """A pretrained file that is here: the original's digest, and how it came to be believed."""

    sha256: str
    pinned: str = Field(
        description="published digest, digest that others print, digest in the published name, first import (nobody "
        "could check), or bundle"
    )
    tensors_digest: str = Field(description="SHA-256 of its tensors as safetensors")
    size_bytes: int
    tensor_count: int
    created_at: datetime


class WeightsAnswer(Answer):
    """A pretrained file of the registry, and whether it is here."""

    name: str
    file_name: str
    megabytes: int
    licence: str
    published_sha256: str = Field(description="all or the first 8 digits; empty: not known")
    address: str
    used_for: str
    stored: StoredWeightsAnswer | None

    @classmethod
    def of(cls, known: PretrainedWeights, row: PretrainedFile | None) -> Self:
        told = {"name", "file_name", "megabytes", "licence", "address", "used_for"}
        stored = None if row is None else StoredWeightsAnswer.model_validate(row)
        return cls(**known.model_dump(include=told), published_sha256=known.sha256, stored=stored)


class VerificationAnswer(Answer):
    """Whether a stored file's bytes still have their digest."""

    name: str
    sound: bool
    detail: str


class GenerationAnswer(Answer):
    id: UUID
    pipeline_id: UUID | None
    recipe: str
    source_version_id: UUID
    dataset_id: UUID
    spec: Document
    version_ids: Document = Field(description="N of set N to the version that holds it")
    counts: Document
    created_at: datetime


class SampleAnswer(Answer):
    """A synthetic pair with its provenance; rejected ones too."""

    id: UUID
    generation_id: UUID
    job_id: UUID
    source_pair_id: UUID
    model_id: UUID
    cluster: int | None
    sample_index: int
    seed: int
    accepted: bool
    rejection_reason: str | None
    evaluations: int
    lesion_fraction: float
    provenance: Document
    agreement: Document | None = Field(description="of a judge with the label: dice, iou, judge_id; null if not judged")
    created_at: datetime
    image_url: str
    label_url: str
    region_url: str
    source_url: str
    source_label_url: str
    thumbnail_url: str
    overlay_url: str

    @classmethod
    def of(cls, row: Sample) -> Self:
        faces = ("image", "label", "region", "source", "source-label", "thumbnail", "overlay")
        addresses = {f"{face.replace('-', '_')}_url": f"/v1/samples/{row.id}/{face}" for face in faces}
        return cls(**row.model_dump(include=set(cls.model_fields)), **addresses)


class EvaluationAnswer(Answer):
    id: UUID
    job_id: UUID
    real_version_id: UUID
    synthetic_version_id: UUID
    label: str
    metrics: Document
    created_at: datetime


class JudgeAnswer(Answer):
    id: UUID
    job_id: UUID
    fold: int = Field(description="from 0; what it judges has its source in this fold, which it never saw")
    folds: int
    parameters: Document
    curve: Document
    created_at: datetime


class JudgeDetail(JudgeAnswer):
    training_manifest: Document
    held_out: Document = Field(description="id of each real pair of the fold to its name, dice and iou")


class JudgementAnswer(Answer):
    id: UUID
    job_id: UUID
    synthetic_version_id: UUID = Field(description="the set as it was judged, before anything was dropped")
    label: str
    findings: Document
    created_at: datetime


class SegmentationRunAnswer(Answer):
    id: UUID
    job_id: UUID
    pipeline_id: UUID | None
    arm: str
    seed: int
    parameters: Document
    curve: Document
    scores: Document
    created_at: datetime


class SegmentationRunDetail(SegmentationRunAnswer):
    training_manifest: Document


class ApiKeyAnswer(Answer):
    id: UUID
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewApiKeyAnswer(ApiKeyAnswer):
    """The only answer that shows the key."""

    key: str | None = Field(description="null when the request is repeated: keys are not stored")
