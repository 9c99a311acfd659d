"""Says that a running job lives, from a thread and a connection of its own, and hears what people ask of it."""

import os
import select
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from segsmith_shared.database.session import CONNECTION, libpq_url
from segsmith_shared.jobs.child import Child
from segsmith_shared.jobs.claim import Claim
from segsmith_shared.jobs.context import StopReason
from segsmith_shared.jobs.health import Health
from segsmith_shared.jobs.states import REQUESTS
from segsmith_shared.telemetry import logger

log = logger(__name__)

RECONNECT_SECONDS = 1.0
DEAF_SECONDS = 30.0  # after so long the kernel's keepalives have told of a database that is gone
STUCK_SECONDS = 120.0  # connecting ends within 10 s, a statement within 60: a round that takes longer never ends
BEAT = """
    UPDATE job SET beat_at = clock_timestamp(), peak_memory_bytes = greatest(peak_memory_bytes, %(peak_memory_bytes)s)
    WHERE id = %(job_id)s AND fence = %(fence)s AND status = 'running'
    RETURNING cancel_requested, pause_requested
"""


@dataclass(frozen=True)
class Watched:
    claim: Claim
    child: Child


class Heart(threading.Thread):
    """Beats for one job at a time. Between the beats it listens, so that a cancel arrives at once."""

    def __init__(self, database_url: str, beat_seconds: float, health: Health) -> None:
        super().__init__(name="heart", daemon=True)
        self._health = health
        self._url = libpq_url(database_url)
        self._beat_seconds = beat_seconds
        self._watched: Watched | None = None
        self._acting = threading.Lock()  # held while the child is told something: it must not be closed meanwhile
        self._beaten_at = 0.0
        self._ended = False
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)

    def watch(self, claim: Claim, child: Child) -> None:
        """Beat for this claim from now on, the first time at once."""
        self._beaten_at = 0.0
        self._watched = Watched(claim, child)
        self._wake()

    def leave(self) -> None:
        """Beat no more, and touch the child no more once this returns."""
        with self._acting:
            self._watched = None

    def end(self) -> None:
        """Stop the thread and wait for it."""
        self._ended = True
        self._wake()
        self.join()

    def run(self) -> None:
        while not self._ended:
            try:
                with psycopg.connect(
                    self._url, autocommit=True, application_name="segsmith heart", **CONNECTION
                ) as own:
                    own.execute(f"LISTEN {REQUESTS}")
                    self._beat_on(own)
            except psycopg.Error as error:  # of any kind: without this thread the job is taken from us
                log.warning("no heartbeat: the database does not answer", error=str(error))
                self._turns()
                self._sleep([], RECONNECT_SECONDS)

    def _beat_on(self, own: psycopg.Connection) -> None:
        heard = False
        while not self._ended:
            self._turns()
            self._health.well("database", ready_seconds=3 * self._beat_seconds + DEAF_SECONDS)
            watched = self._watched
            due_in_seconds = self._beaten_at + self._beat_seconds - time.monotonic()
            if watched and (heard or due_in_seconds <= 0):
                self._beaten_at = time.monotonic()
                self._beat(own, watched)
                due_in_seconds = self._beat_seconds
            self._sleep([own.fileno()], due_in_seconds if watched else self._beat_seconds)
            heard = any(self._is_about(note.payload) for note in own.notifies(timeout=0))

    def _beat(self, own: psycopg.Connection, watched: Watched) -> None:
        claim, child = watched.claim, watched.child
        values = {"job_id": claim.job_id, "fence": claim.fence, "peak_memory_bytes": child.sample_memory()}
        requests = own.execute(BEAT, values).fetchone()
        with self._acting:
            if self._watched is watched:  # else it ended while we asked
                _pass_on(requests, watched)

    def _turns(self) -> None:
        """Say that this thread goes round, whether the database answers or not: a new start would not bring it back."""
        self._health.well("heart", live_seconds=3 * self._beat_seconds + STUCK_SECONDS)

    def _is_about(self, payload: str) -> bool:
        watched = self._watched
        return watched is not None and payload == str(watched.claim.job_id)

    def _sleep(self, others: list[int], seconds: float) -> None:
        ready, _, _ = select.select([self._wake_reader, *others], [], [], max(0.0, seconds))
        if self._wake_reader in ready:
            os.read(self._wake_reader, 4096)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # the pipe is full of wakes already
            os.write(self._wake_writer, b"!")


def _pass_on(requests: tuple[bool, bool] | None, watched: Watched) -> None:
    claim, child = watched.claim, watched.child
    if requests is None:
        log.warning("another claim owns the job", job_id=str(claim.job_id), fence=claim.fence)
        child.kill("superseded")
        return
    cancel_requested, pause_requested = requests
    if cancel_requested:
        child.ask(StopReason.CANCEL)
    elif pause_requested:
        child.ask(StopReason.PAUSE)
    else:
        child.take_back_pause()
