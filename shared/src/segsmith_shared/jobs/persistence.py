"""Fenced transactions that must not be lost to a moment without the database."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from kombu.utils.functional import retry_over_time
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from segsmith_shared.database.session import session_scope
from segsmith_shared.telemetry import logger

log = logger(__name__)

MOST_RETRIES = 8
LONGEST_PAUSE_SECONDS = 5.0

Written = TypeVar("Written")


def written(engine: Engine, write: Callable[[Session], Written]) -> Written:
    """Commit `write(session)`, again for half a minute where the database is away or broke a deadlock.

    Only for writes behind a fence, which therefore happen once or not at all. Raises OperationalError at last.
    """

    def once() -> Written:
        with session_scope(engine) as session:
            return write(session)

    result: Written = retry_over_time(  # type: ignore[no-untyped-call]  # kombu has no annotations
        once,
        OperationalError,
        max_retries=MOST_RETRIES,
        interval_start=0.2,
        interval_step=1.0,
        interval_max=LONGEST_PAUSE_SECONDS,
        errback=_told,
    )
    return result


def _told(error: Exception, pauses: Iterator[float], retries: int) -> float:
    log.warning("writing again", retries=retries, error=str(error))
    return next(pauses)
