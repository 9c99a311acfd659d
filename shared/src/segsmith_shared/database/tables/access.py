"""API keys and the idempotency of requests."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

from segsmith_shared.database.tables.columns import Document, document, identity, moment, optional_moment


class ApiKey(SQLModel, table=True):
    """A key's digest; the key itself is shown once and never stored."""

    __tablename__ = "api_key"

    id: UUID = identity()
    name: str = Field(max_length=200)
    prefix: str = Field(max_length=16, index=True, description="first characters, so that a person can tell keys apart")
    digest: str = Field(unique=True, description="SHA-256 of the key, which is 256 random bits, so no salt is needed")
    created_at: datetime = moment()
    revoked_at: datetime | None = optional_moment()
    last_used_at: datetime | None = optional_moment()


class IdempotencyRecord(SQLModel, table=True):
    """The answer a key got; the same request with the same key gets it again."""

    __tablename__ = "idempotency_record"

    api_key_id: UUID = Field(primary_key=True)
    key: str = Field(primary_key=True, max_length=200)
    request_digest: str
    status: int
    body: Document = document()
    headers: Document = document()
    created_at: datetime = moment(index=True)
