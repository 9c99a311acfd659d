"""What Prometheus is told about this process and, at every scrape, about the jobs in Postgres."""

from collections.abc import Iterable
from threading import Lock

from prometheus_client import Counter, Gauge, generate_latest

from segsmith_shared.telemetry import JOBS

UPLOADED_BYTES = Counter("segsmith_uploaded_bytes", "Bytes of archives received and stored by this process")
EVENT_STREAMS = Gauge("segsmith_event_streams", "Event streams open right now")

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_scraping = Lock()


def exposition(jobs: Iterable[tuple[str, str, int]]) -> bytes:
    """The metrics page. `jobs` are (kind, status, count), as just read."""
    with _scraping:
        JOBS.clear()
        for kind, status, count in jobs:
            JOBS.labels(kind, status).set(count)
        return generate_latest()
