"""Where the three servers are and how the services behave: read once from the environment, nowhere else."""

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from segsmith_shared.problems import Problem
from segsmith_shared.service_addresses import postgres_address, redis_address, s3_address


class WrongSettings(Problem):
    """Variables of the environment are missing or cannot be used; each is named, and no value is shown."""

    title = "The environment's settings cannot be used"


def _secret(normalised: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda secret: SecretStr(normalised(secret.get_secret_value())))


class Settings(BaseSettings):
    """Environment of every service. The embedded stack, compose and Kubernetes set the same variables."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: Annotated[SecretStr, _secret(postgres_address)] = Field(
        description="postgresql+psycopg://user:password@host:port/name; postgres:// and postgresql:// mean the same"
    )
    redis_url: Annotated[SecretStr, _secret(redis_address)] = Field(
        description="redis://:password@host:port/0, the broker of the bell"
    )
    s3_endpoint: Annotated[str, AfterValidator(lambda endpoint: s3_address(endpoint)[0])] = Field(
        description="host:port of the S3 server; with http:// or https:// in front that decides s3_secure"
    )
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

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Without the line breaks that secrets from files end in, and with TLS as the endpoint's scheme says."""
        given = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
        endpoint = given.get("s3_endpoint")
        if isinstance(endpoint, str) and endpoint.lower().startswith(("http://", "https://")):
            given["s3_secure"] = endpoint.lower().startswith("https://")
        return given


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process. Raises WrongSettings, which names each variable at fault."""
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_url=False)
        ]
        raise WrongSettings(f"{'; '.join(faults)}.", hint="Correct the variables of the environment.") from error


def settings_or_exit() -> Settings:
    """The settings of this process; where they cannot be used it ends with one line on stderr and exit code 1."""
    try:
        return settings()
    except WrongSettings as problem:
        sys.exit(f"{problem.title}: {problem.detail} {problem.hint}")
