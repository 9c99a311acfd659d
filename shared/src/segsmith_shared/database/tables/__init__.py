"""One SQLModel file per noun; importing this package registers every table."""

from segsmith_shared.database.tables.access import ApiKey, IdempotencyRecord
from segsmith_shared.database.tables.dataset import Dataset, DatasetVersion, Origin, Pair, PairFingerprint, Split
from segsmith_shared.database.tables.job import (
    Artifact,
    Event,
    Job,
    JobDependency,
    JobKind,
    JobStatus,
    Pipeline,
)
from segsmith_shared.database.tables.science import (
    Checkpoint,
    Clustering,
    Evaluation,
    Generation,
    Judge,
    Model,
    Sample,
    SegmentationRun,
    SetJudgement,
)
from segsmith_shared.database.tables.upload import Upload, UploadPart
from segsmith_shared.database.tables.weights import PretrainedFile

__all__ = [
    "ApiKey",
    "Artifact",
    "Checkpoint",
    "Clustering",
    "Dataset",
    "DatasetVersion",
    "Evaluation",
    "Event",
    "Generation",
    "IdempotencyRecord",
    "Job",
    "JobDependency",
    "JobKind",
    "JobStatus",
    "Judge",
    "Model",
    "Origin",
    "Pair",
    "PairFingerprint",
    "Pipeline",
    "PretrainedFile",
    "Sample",
    "SegmentationRun",
    "SetJudgement",
    "Split",
    "Upload",
    "UploadPart",
]
