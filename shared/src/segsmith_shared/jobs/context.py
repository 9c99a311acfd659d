"""What a step is given and what it returns: the border between the engine and the science."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, SQLModel

from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import Artifact, Job
from segsmith_shared.jobs import events, states
from segsmith_shared.jobs.claim import Claim
from segsmith_shared.jobs.outcomes import Finished, FollowUp, Outcome, SliceDone, Stopped
from segsmith_shared.settings import Settings
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.telemetry import logger

__all__ = ["Finished", "FollowUp", "Outcome", "SliceDone", "Step", "StepContext", "StopReason", "Stopped"]

log = logger(__name__)

PROGRESS_SECONDS = 0.5
SLOWEST_PROGRESS_SECONDS = 5.0
CHECKPOINTS_PER_SLICE = 20


class StopReason(StrEnum):
    """Why a step is asked to stop."""

    PAUSE = "pause"
    SHUTDOWN = "shutdown"
    CANCEL = "cancel"


STOP_REASONS = (None, StopReason.PAUSE, StopReason.SHUTDOWN, StopReason.CANCEL)
"""As numbered in the memory that worker and child share; of two reasons the later one counts."""


@dataclass
class StepContext:
    """One claim of one job, seen from its child process."""

    claim: Claim
    settings: Settings
    engine: Engine
    stop_reason: Callable[[], StopReason | None]
    latest_progress: dict[str, Any] = field(default_factory=dict)
    wrap_up_began: float | None = None
    _began: float = field(default_factory=time.monotonic)
    _work_began: float | None = None
    _progress_written: float = -SLOWEST_PROGRESS_SECONDS

    @property
    def job_id(self) -> UUID:
        return self.claim.job_id

    @property
    def pipeline_id(self) -> UUID | None:
        return self.claim.pipeline_id

    @property
    def kind(self) -> str:
        return self.claim.kind

    @property
    def spec(self) -> dict[str, Any]:
        return self.claim.spec

    @property
    def slice_number(self) -> int:
        """How many slices have been finished before this one."""
        return self.claim.slice_number

    @property
    def slice_state(self) -> dict[str, Any] | None:
        """What the last slice, or the last stop, left behind; None at the beginning."""
        return self.claim.slice_state

    @property
    def fence(self) -> int:
        return self.claim.fence

    @cached_property
    def objects(self) -> ObjectStore:
        return ObjectStore.from_settings(self.settings)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A short transaction for reading; keep no tensor work inside it. Rows stay readable afterwards."""
        with session_scope(self.engine) as session:
            yield session

    def stop_requested(self) -> StopReason | None:
        """Why to stop now, if at all. Cheap: ask once per step, then checkpoint and return `Stopped`."""
        reason = self.stop_reason()
        if reason:
            self._begin_wrap_up()
        return reason

    def slice_is_over(self) -> bool:
        """Whether it is time to checkpoint and return `SliceDone`.

        A slice lasts `slice_seconds` (of the spec, else of the settings), and at least 20 times what ending the last
        one cost, so that checkpoints take less than a twentieth of the time.
        """
        if self._work_began is None:  # getting ready does not count: a slow start would leave time for one step
            self._work_began = time.monotonic()
        least_seconds = float(self.spec.get("slice_seconds") or self.settings.slice_seconds)
        least_seconds = max(least_seconds, CHECKPOINTS_PER_SLICE * self.claim.wrap_up_seconds)
        over = time.monotonic() - self._work_began >= least_seconds
        if over:
            self._begin_wrap_up()
        return over

    def progress(self, done: int, total: int, unit: str, **figures: float | int | str) -> None:
        """Say how far the job is, e.g. `progress(320, 800, "images", loss=.04)`. Call as often as you like.

        At most two a second are written, fewer when the slice is long, and always the last. A database that does not
        answer costs the figure, not the job. Raises Superseded when another worker owns the job.
        """
        self.latest_progress = {"done": done, "total": total, "unit": unit, **figures}
        now = time.monotonic()
        pause = min(max(PROGRESS_SECONDS, (now - self._began) / 100), SLOWEST_PROGRESS_SECONDS)
        if now - self._progress_written < pause and done != total:
            return
        self._progress_written = now
        try:
            with self._guarded() as (session, job):
                states.progress(session, job, self.latest_progress)
        except OperationalError as error:
            log.warning("progress was not written", error=str(error))

    def message(self, text: str, **data: Any) -> None:
        """Tell a person something worth reading; it becomes an event and a line in the log."""
        log.info(text, **data)
        with self._guarded() as (session, job):
            events.record(session, job, events.MESSAGE, {"text": text, **data})

    def preview(self, name: str, picture: bytes, media_type: str) -> None:
        """Store a picture and show it now: an artifact and an event. `picture` is an encoded PNG or JPEG."""
        digest = self.objects.put_bytes(picture, media_type)
        artifact = Artifact(
            job_id=self.job_id, name=name, media_type=media_type, digest=digest, size_bytes=len(picture)
        )
        with self._guarded() as (session, job):
            session.add(artifact)
            shown = {"artifact_id": str(artifact.id), "name": name, "media_type": media_type, "digest": digest}
            events.record(session, job, events.PREVIEW, shown)

    def store(self, rows: Iterable[SQLModel]) -> None:
        """Add rows in the middle of a slice, in one transaction. Raises Superseded and adds none if we are stale."""
        with self._guarded() as (session, _):
            session.add_all(list(rows))

    @contextmanager
    def _guarded(self) -> Iterator[tuple[Session, Job]]:
        with session_scope(self.engine) as session:
            job, _ = states.guarded(session, self.claim)
            yield session, job

    def _begin_wrap_up(self) -> None:
        if self.wrap_up_began is None:
            self.wrap_up_began = time.monotonic()


Step = Callable[[StepContext], Outcome]
