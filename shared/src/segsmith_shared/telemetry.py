"""What every service says about itself: structured logs with the request's or job's identity, and a few metrics."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram
from structlog.typing import EventDict, Processor, WrappedLogger

HTTP_REQUEST_SECONDS = Histogram(
    "segsmith_http_request_seconds",
    "Time from request to response head, by route template",
    ["method", "route", "status"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
JOBS = Gauge("segsmith_jobs", "Jobs in the database, by kind and status; read at each scrape", ["kind", "status"])
OBJECT_BYTES = Counter("segsmith_object_bytes", "Bytes of objects moved by this process", ["direction"])


def configure_logging(service: str) -> None:
    """Sends every log line of this process, libraries' included, to stderr: readable on a terminal, else JSON.

    `LOG_FORMAT` (`console` or `json`) and `LOG_LEVEL` (default INFO) decide otherwise. Call once, at the start.
    """
    readable = os.environ.get("LOG_FORMAT", "console" if sys.stderr.isatty() else "json") == "console"
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    # Plain tracebacks in both: the richer ones print local variables, and with them passwords.
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(os.environ.get("LOG_LEVEL", "INFO").upper())


@contextmanager
def identified(**fields: Any) -> Iterator[None]:
    """Adds the fields (`request_id=…`, `job_id=…`) to every log line written inside the block."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for the module: `log = logger(__name__)`, then `log.info("claimed", attempt=1)`."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def _named(service: str) -> Processor:
    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return add_service
