"""Clusterings, models, checkpoints, generations and samples: what the gpu queue leaves behind."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, UniqueConstraint
from sqlmodel import Field, SQLModel

from segsmith_shared.database.tables.columns import Document, document, identity, moment, optional_document


class Clustering(SQLModel, table=True):
    """A division of a version's pairs into clusters, computed or imported."""

    id: UUID = identity()
    version_id: UUID = Field(foreign_key="dataset_version.id", index=True)
    job_id: UUID = Field(foreign_key="job.id", index=True)
    cluster_count: int
    method: str = Field(description="k-means or imported")
    extractor: Document = document()  # name, digest, stand_in
    assignments: Document = document()  # pair id -> cluster index
    centroids_digest: str | None = None  # object: safetensors
    report: Document = document()  # sizes, merges, silhouettes, library versions, sheets
    created_at: datetime = moment()


class Model(SQLModel, table=True):
    """A trained diffusion model: one cluster's, or the full one (cluster is null)."""

    id: UUID = identity()
    job_id: UUID = Field(foreign_key="job.id", index=True)
    recipe: str = Field(description="name of the recipe within the pipeline")
    clustering_id: UUID | None = Field(default=None, foreign_key="clustering.id", index=True)
    cluster: int | None = None
    preset: Document = document()  # the whole preset that ran
    images_seen: int = Field(sa_type=BigInteger)
    training_images: int
    weights: str = Field(description="ema or raw: which weights sampling uses")
    checkpoint_digest: str = Field(description="manifest object of the last checkpoint")
    curve: Document = document()  # {"images_seen": [...], "loss": [...], ...}
    created_at: datetime = moment(index=True)


class Checkpoint(SQLModel, table=True):
    """A stored training state; older ones than the newest and the milestones are let go."""

    __table_args__ = (UniqueConstraint("job_id", "images_seen"),)

    id: UUID = identity()
    job_id: UUID = Field(foreign_key="job.id", index=True)
    images_seen: int = Field(sa_type=BigInteger)
    manifest_digest: str
    size_bytes: int = Field(sa_type=BigInteger)
    milestone: bool = False
    created_at: datetime = moment()


class Generation(SQLModel, table=True):
    """A request for synthetic sets from one version's sources; its generate jobs share the samples."""

    id: UUID = identity()
    pipeline_id: UUID | None = Field(default=None, foreign_key="pipeline.id", index=True)
    recipe: str
    source_version_id: UUID = Field(foreign_key="dataset_version.id", index=True)
    dataset_id: UUID = Field(foreign_key="dataset.id", description="where the sets become versions")
    spec: Document = document()
    version_ids: Document = document()  # "1" -> version id of Diff-1, written when the last job finishes
    counts: Document = document()  # accepted and rejected by reason
    created_at: datetime = moment(index=True)


class Sample(SQLModel, table=True):
    """A synthetic pair with its full provenance; rejected ones are kept as rows, so that they are counted."""

    __table_args__ = (UniqueConstraint("generation_id", "sample_index", "source_pair_id"),)

    id: UUID = identity()
    generation_id: UUID = Field(foreign_key="generation.id")
    job_id: UUID = Field(foreign_key="job.id", index=True)
    source_pair_id: UUID = Field(foreign_key="pair.id", index=True)
    model_id: UUID = Field(foreign_key="model.id", index=True)
    cluster: int | None = None
    sample_index: int = Field(ge=1, description="N of Diff-N")
    seed: int = Field(sa_type=BigInteger)
    accepted: bool
    rejection_reason: str | None = None
    image_digest: str
    label_digest: str
    region_digest: str = Field(description="the redraw region, PNG, 0 or 255")
    thumbnail_digest: str
    overlay_digest: str
    source_digest: str = Field(description="the source as the model saw it (geometry applied), PNG")
    source_label_digest: str
    evaluations: int = Field(description="U-Net evaluations spent on this sample")
    lesion_fraction: float
    lesion_count: int
    provenance: Document = document()  # sampler parameters, procedure, torch threads, batch size, code version
    agreement: Document | None = optional_document()  # of a judge with the label: dice, iou, judge_id, fold
    created_at: datetime = moment()


class Evaluation(SQLModel, table=True):
    """Metrics of one synthetic set against real pairs."""

    id: UUID = identity()
    job_id: UUID = Field(foreign_key="job.id", index=True)
    real_version_id: UUID = Field(foreign_key="dataset_version.id")
    synthetic_version_id: UUID = Field(foreign_key="dataset_version.id", index=True)
    label: str
    metrics: Document = document()
    created_at: datetime = moment(index=True)


class Judge(SQLModel, table=True):
    """A segmentation model of the quality gate, trained on every real pair outside its fold."""

    id: UUID = identity()
    job_id: UUID = Field(foreign_key="job.id", index=True)
    fold: int = Field(description="counted from 0")
    folds: int
    parameters: Document = document()
    training_manifest: Document = document()  # which pairs, in which part; none of its fold
    curve: Document = document()
    held_out: Document = document()  # id of each real pair of the fold -> name, dice, iou
    checkpoint_digest: str = Field(description="the best weights alone")
    created_at: datetime = moment(index=True)


class SetJudgement(SQLModel, table=True):
    """How well the judges agree with the labels of one synthetic set, and what the gate dropped of it."""

    __tablename__ = "set_judgement"

    id: UUID = identity()
    job_id: UUID = Field(foreign_key="job.id", index=True)
    synthetic_version_id: UUID = Field(foreign_key="dataset_version.id", index=True)  # as it was judged
    label: str
    findings: Document = document()  # pairs.agreement.Judgement
    created_at: datetime = moment(index=True)


class SegmentationRun(SQLModel, table=True):
    """One segmentation model of one arm and seed, scored on every test set."""

    __tablename__ = "segmentation_run"

    id: UUID = identity()
    job_id: UUID = Field(foreign_key="job.id", index=True)
    pipeline_id: UUID | None = Field(default=None, foreign_key="pipeline.id", index=True)
    arm: str
    seed: int = Field(sa_type=BigInteger)
    parameters: Document = document()
    training_manifest: Document = document()  # which pairs, in which part
    curve: Document = document()
    scores: Document = document()  # test set name -> metric -> value
    checkpoint_digest: str
    created_at: datetime = moment(index=True)
