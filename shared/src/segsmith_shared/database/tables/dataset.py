"""Datasets: a name, its immutable versions, their pairs and splits."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from segsmith_shared.database.tables.columns import Document, Texts, document, identity, moment, texts


class Origin(StrEnum):
    """Where the pairs of a version come from."""

    REAL = "real"
    SYNTHETIC = "synthetic"
    EXTERNAL = "external"


class Dataset(SQLModel, table=True):
    """A name under which versions gather."""

    id: UUID = identity()
    name: str = Field(max_length=200, index=True)
    description: str = Field(default="", max_length=4000)
    created_at: datetime = moment(index=True)


class DatasetVersion(SQLModel, table=True):
    """An immutable list of pairs, written whole in one transaction by the job that made it."""

    __tablename__ = "dataset_version"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)

    id: UUID = identity()
    dataset_id: UUID = Field(foreign_key="dataset.id", index=True)
    number: int = Field(ge=1)
    label: str = Field(default="", max_length=200, description="e.g. Diff-1 for a synthetic set")
    origin: str = Field(default=Origin.REAL, description="a value of Origin")
    pair_count: int
    digest: str = Field(description="SHA-256 over the pairs' names and digests in order: equal content, equal digest")
    class_names: Texts = texts()  # of label values 1, 2 … (one alone: 255); empty where labels are lesion or not
    report: Document = document()
    provenance: Document = document()
    created_by_job_id: UUID | None = Field(default=None, index=True)
    created_at: datetime = moment(index=True)


class Pair(SQLModel, table=True):
    """An image and its label, both stored losslessly (PNG) in the object store under their digests."""

    __table_args__ = (UniqueConstraint("version_id", "position"), UniqueConstraint("version_id", "name"))

    id: UUID = identity()
    version_id: UUID = Field(foreign_key="dataset_version.id")
    position: int = Field(ge=0, description="order within the version")
    name: str = Field(max_length=400, description="the stem the publisher gave, or source~index for a sample")
    image_digest: str = Field(description="PNG, RGB")
    label_digest: str = Field(description="PNG, 8-bit grey: 0 or 255, or the class where the version names several")
    thumbnail_digest: str = Field(description="JPEG, longest side 256 px")
    overlay_digest: str = Field(description="JPEG, the thumbnail with the label's outline")
    width_px: int
    height_px: int
    lesion_fraction: float = Field(description="share of pixels labelled lesion")
    lesion_count: int = Field(description="connected lesions in the label")
    near_duplicate_group: int | None = Field(default=None, description="pairs of one group must share a split")


class PairFingerprint(SQLModel, table=True):
    """What near-duplicates of a pair's image are found by, across versions (`pairs.near_duplicates.Look`).

    Pairs that were imported before there was this table have none: only their exact copies are found.
    """

    __tablename__ = "pair_fingerprint"

    pair_id: UUID = Field(primary_key=True, foreign_key="pair.id", ondelete="CASCADE")
    hash_bytes: bytes = Field(description="64-bit hashes of the image in four orientations, little-endian")
    colour_print: bytes = Field(description="16 × 16 RGB")


class Split(SQLModel, table=True):
    """A named division of a version, e.g. train/test, kept whole by near-duplicate group."""

    __table_args__ = (UniqueConstraint("version_id", "name"),)

    id: UUID = identity()
    version_id: UUID = Field(foreign_key="dataset_version.id", index=True)
    name: str = Field(max_length=200)
    parameters: Document = document()
    parts: Document = document()  # part name -> list of pair ids, in order
    created_at: datetime = moment()
