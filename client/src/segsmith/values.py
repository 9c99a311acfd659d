"""What the server answers, as typed values. Fields a newer server adds are ignored."""

from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

ENDED = frozenset({"succeeded", "failed", "cancelled"})


class Answer(BaseModel):
    """A value from the server."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Value = TypeVar("Value", bound=Answer)


class Page(Answer, Generic[Value]):
    """One page of a list."""

    items: tuple[Value, ...]
    next_cursor: str | None = None


class Dataset(Answer):
    """A name under which versions gather."""

    id: UUID
    name: str
    description: str = ""
    created_at: datetime
    version_count: int = 0
    latest_version_id: UUID | None = None


class UploadPart(Answer):
    """A part the server has."""

    number: int
    size_bytes: int
    sha256: str


class Upload(Answer):
    """An archive, or weights (of no dataset), on their way in."""

    id: UUID
    dataset_id: UUID | None = None
    filename: str
    size_bytes: int
    part_bytes: int
    part_count: int
    parts: tuple[UploadPart, ...] = ()
    missing: tuple[int, ...] = ()
    sha256: str | None = None
    closed_at: datetime | None = None
    import_job_id: UUID | None = None


class Version(Answer):
    """An immutable list of pairs."""

    id: UUID
    dataset_id: UUID
    number: int
    label: str = ""
    origin: str
    pair_count: int
    digest: str
    class_names: list[str] = Field(default_factory=list)
    provenance: dict[str, Any] = Field(default_factory=dict)
    created_by_job_id: UUID | None = None
    created_at: datetime


class Pair(Answer):
    """An image and its label."""

    id: UUID
    version_id: UUID
    position: int
    name: str
    width_px: int
    height_px: int
    lesion_fraction: float
    lesion_count: int
    near_duplicate_group: int | None = None


class Split(Answer):
    """A named division of a version; `counts` says how many pairs each part has."""

    id: UUID
    version_id: UUID
    name: str
    counts: dict[str, int] = Field(default_factory=dict)
    created_at: datetime


class Progress(Answer):
    """How far a job is, in its own unit."""

    done: int = 0
    total: int = 0
    unit: str = ""


class JobProblem(Answer):
    """Why a job failed and what to do about it."""

    title: str = ""
    detail: str = ""
    hint: str = ""


class Job(Answer):
    """One unit of work."""

    id: UUID
    pipeline_id: UUID | None = None
    kind: str
    name: str = ""
    queue: str = ""
    status: str
    needs: tuple[UUID, ...] = ()
    attempts: int = 0
    slice_number: int = 0
    progress: Progress = Progress()
    outputs: dict[str, Any] = Field(default_factory=dict)
    problem: JobProblem | None = None
    run_seconds: float = 0.0
    peak_memory_bytes: int = 0
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    spec: dict[str, Any] | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


class Pipeline(Answer):
    """A whole run. In lists without `spec`, `plan` and `jobs`, but with `counts` of jobs by status."""

    id: UUID
    name: str
    status: str
    created_at: datetime
    finished_at: datetime | None = None
    spec: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None
    jobs: tuple[Job, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


class Artifact(Answer):
    """A named file a job left for people."""

    id: UUID
    job_id: UUID
    name: str
    media_type: str
    size_bytes: int
    digest: str
    created_at: datetime


class Event(Answer):
    """Something that happened to a job. `kind` is status, progress, message, figure or preview."""

    id: int
    job_id: UUID
    pipeline_id: UUID | None = None
    kind: str
    data: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime


class StoredWeights(Answer):
    """A pretrained file that the server has; `pinned` says how its digest came to be believed."""

    sha256: str
    pinned: str
    tensors_digest: str
    size_bytes: int
    tensor_count: int
    created_at: datetime


class Weights(Answer):
    """A pretrained file that the server knows by name."""

    name: str
    file_name: str
    megabytes: int
    licence: str
    published_sha256: str = ""
    address: str
    used_for: str
    stored: StoredWeights | None = None


class Verification(Answer):
    """Whether a stored pretrained file still has its digest."""

    name: str
    sound: bool
    detail: str


class Model(Answer):
    """A diffusion model, trained or imported."""

    id: UUID
    job_id: UUID
    recipe: str
    clustering_id: UUID | None = None
    cluster: int | None = None
    preset: dict[str, Any] = Field(default_factory=dict)
    images_seen: int
    training_images: int
    weights: str
    created_at: datetime

    @property
    def told_clusters(self) -> bool:
        """Whether it is told the cluster of each picture it draws."""
        return self.clustering_id is not None and self.cluster is None


class Generation(Answer):
    """Synthetic sets of one recipe: `version_ids` maps N to the version that is set N."""

    id: UUID
    pipeline_id: UUID | None = None
    recipe: str
    source_version_id: UUID
    dataset_id: UUID
    version_ids: dict[str, UUID] = Field(default_factory=dict)
    counts: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime


class Evaluation(Answer):
    """Metrics of one synthetic set against real pairs."""

    id: UUID
    job_id: UUID
    real_version_id: UUID
    synthetic_version_id: UUID
    label: str
    metrics: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime


class Judge(Answer):
    """A segmentation model of a quality gate; it judges what has its source in `fold`, which it never saw."""

    id: UUID
    job_id: UUID
    fold: int
    folds: int
    parameters: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime


class Judgement(Answer):
    """What a quality gate found of one set: `findings` is segsmith_shared.pairs.agreement.Judgement's document."""

    id: UUID
    job_id: UUID
    synthetic_version_id: UUID
    label: str
    findings: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime


class SegmentationRun(Answer):
    """One segmentation model; `scores` maps test set to metric to value."""

    id: UUID
    job_id: UUID
    pipeline_id: UUID | None = None
    arm: str
    seed: int
    scores: dict[str, dict[str, Any]] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime


class ApiKey(Answer):
    """A key; `key` itself is there only in the answer that made it."""

    id: UUID
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    key: str | None = None
