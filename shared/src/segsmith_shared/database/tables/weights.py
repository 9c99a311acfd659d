"""Pretrained files of the registry (`plans.weights`) that this installation has."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from segsmith_shared.database.tables.columns import moment


class PretrainedFile(SQLModel, table=True):
    """The tensors of a published file, as one safetensors object; `sha256` is the original's and stays pinned."""

    __tablename__ = "pretrained_file"

    name: str = Field(primary_key=True, max_length=80)
    sha256: str = Field(description="of the file as it was published")
    pinned: str = Field(description="how that digest came to be believed: plans.weights.Pinned")
    tensors_digest: str = Field(description="object: safetensors")
    size_bytes: int = Field(sa_type=BigInteger, description="of that object")
    tensor_count: int
    job_id: UUID = Field(foreign_key="job.id")
    created_at: datetime = moment()
