"""Uploads: archives and weight files that arrive in parts and are closed with a SHA-256."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from segsmith_shared.database.tables.columns import identity, moment, optional_moment


class Upload(SQLModel, table=True):
    """One file on its way in: a dataset's archive, or weights. Complete when `closed_at` is set; parts are objects."""

    id: UUID = identity()
    dataset_id: UUID | None = Field(default=None, foreign_key="dataset.id", index=True)
    filename: str = Field(max_length=400)
    size_bytes: int = Field(sa_type=BigInteger)
    part_bytes: int = Field(description="size of every part but the last")
    sha256: str | None = Field(default=None, description="of the whole archive, checked when it was closed")
    created_at: datetime = moment(index=True)
    closed_at: datetime | None = optional_moment()


class UploadPart(SQLModel, table=True):
    """One part, stored as an object of its own; sending it again replaces it."""

    __tablename__ = "upload_part"

    upload_id: UUID = Field(foreign_key="upload.id", primary_key=True)
    number: int = Field(primary_key=True, ge=0)
    size_bytes: int
    digest: str
