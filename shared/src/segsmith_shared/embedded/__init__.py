"""The same three servers without Docker: Postgres, Valkey and S3 from pip wheels, as our child processes."""

from segsmith_shared.embedded.servers import EmbeddedServers

__all__ = ["EmbeddedServers"]
