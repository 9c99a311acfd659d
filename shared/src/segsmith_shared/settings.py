"""Where the three servers are and how the services behave: read once from the environment, nowhere else."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment of every service. The embedded stack, compose and Kubernetes set the same variables."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    database_url: SecretStr = Field(description="postgresql+psycopg://user:password@host:port/name")
    redis_url: SecretStr = Field(description="redis://:password@host:port/0, the broker of the bell")
    s3_endpoint: str = Field(description="host:port of the S3 server")
    s3_access_key: str
    s3_secret_key: SecretStr
    s3_bucket: str = "segsmith"
    s3_secure: bool = False
    s3_region: str = "us-east-1"
    s3_public_url: str | None = None

    beat_seconds: float = Field(10.0, gt=0, description="how often a running job says that it lives")
    silent_seconds: float = Field(30.0, gt=0, description="a running job silent for this long is rescued")
    caretaker_seconds: float = Field(15.0, gt=0, description="pause between two rounds of the caretaker")
    slice_seconds: float = Field(300.0, gt=0, description="a slice ends after this long, or 20 times its checkpoint")
    stop_grace_seconds: float = Field(60.0, gt=0, description="from SIGTERM to SIGKILL of a job's child process")
    health_file: Path | None = Field(
        None, description="where workers and the caretaker leave how they are: jobs.health"
    )
    worker_until_empty: bool = Field(False, description="a worker ends when it finds nothing to claim; for KEDA")
    torch_threads: int = Field(2, ge=1, le=256, description="threads of one job, part of its spec: results repeat")
    torch_compile: Literal["auto", "on", "off"] = Field("auto", description="of trainings; auto: long ones on CUDA")
    training_devices: Annotated[int, Field(ge=1, le=64)] | Literal["all"] = Field(
        1, description="devices that one training uses together; all: those that the worker sees"
    )
    auth_required: bool = True
    maximum_upload_bytes: int = 20 * 2**30
    upload_part_bytes: int = 8 * 2**20


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process. Raises pydantic.ValidationError naming each missing variable."""
    return Settings()
