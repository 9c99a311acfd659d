"""Where the API listens. Light to import: health checks ask every few seconds."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Address(BaseSettings):
    """Where the API listens; loopback unless told, because a key travels in the clear until a proxy adds TLS."""

    model_config = SettingsConfigDict(env_prefix="SEGSMITH_", extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
