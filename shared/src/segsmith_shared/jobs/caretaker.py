"""Looks after what nobody holds: silent jobs, lost rings, and rows that have served their time."""

import signal
import time
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Engine, delete, func, text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select

from segsmith_shared.database.session import engine_for, session_scope
from segsmith_shared.database.tables import Event, IdempotencyRecord
from segsmith_shared.jobs import bell, events, needs, queue, states
from segsmith_shared.jobs.health import Health
from segsmith_shared.settings import Settings, settings_or_exit
from segsmith_shared.telemetry import configure_logging, logger

log = logger(__name__)

LOCK_KEY = 0x5E65_CA2E
IDEMPOTENCY_HOURS = 48
PROGRESS_DAYS = 7
MOST_FORGOTTEN = 50_000
SIGNALS = (signal.SIGTERM, signal.SIGINT)
LONGEST_ROUND_SECONDS = 120.0  # its statements have 60 s each


@dataclass
class Caretaker:
    """Any number may run; each round's work is one transaction under a lock, so one at a time does it."""

    settings: Settings
    engine: Engine
    health: Health = field(default_factory=lambda: Health(None, ()))
    _answering_since: float = field(default_factory=time.monotonic)

    def round(self) -> None:
        """One round. A database that does not answer is logged; the next round tries again."""
        next_seconds = self.settings.caretaker_seconds + LONGEST_ROUND_SECONDS
        self.health.well("rounds", live_seconds=next_seconds)
        try:
            with session_scope(self.engine) as session:
                held = session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)").bindparams(key=LOCK_KEY))
                waiting = self._look_after(session) if held else {}
        except OperationalError as error:
            log.warning("the database does not answer", error=str(error))
            self._answering_since = time.monotonic()
            return
        self.health.well("database", ready_seconds=next_seconds)
        for name, count in waiting.items():
            bell.ring(name, count, redis_url=self.settings.redis_url.get_secret_value())
        if held:
            self._tidy_up()

    def _tidy_up(self) -> None:
        """In a transaction of its own: however much has grown old, no rescue waits for it or is undone with it."""
        try:
            with session_scope(self.engine) as session:
                forget_old(session)
        except OperationalError as error:
            log.warning("old rows could not be deleted", error=str(error))

    def _look_after(self, session: Session) -> dict[str, int]:
        if self._workers_had_time_to_beat():
            for job_id in states.rescue_silent(session, self.settings.silent_seconds):
                log.warning("rescued a silent job", job_id=str(job_id))
        states.cancel_orphans(session)
        needs.release_all(session)
        session.flush()
        return queue.claimable_counts(session)

    def _workers_had_time_to_beat(self) -> bool:
        """Whether silence is the workers' own: while the database was away, nobody could beat."""
        return time.monotonic() - self._answering_since >= self.settings.beat_seconds


def serve() -> None:
    """Make rounds until SIGTERM or Ctrl-C."""
    configure_logging("caretaker")
    here = settings_or_exit()
    engine = engine_for(here.database_url.get_secret_value(), pool_size=1, application="segsmith caretaker")
    caretaker = Caretaker(here, engine, Health(here.health_file, ("rounds", "database")))
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # a round is never cut; the signal is taken in the pause
    while True:
        caretaker.round()
        if signal.sigtimedwait(SIGNALS, here.caretaker_seconds):
            break
    engine.dispose()


def forget_old(session: Session) -> None:
    """Idempotency keys have served after two days; progress is superseded by later progress and by the results.

    Of progress at most `MOST_FORGOTTEN` at a time, which the next rounds go on with.
    """
    keys_end = func.now() - timedelta(hours=IDEMPOTENCY_HOURS)
    session.execute(delete(IdempotencyRecord).where(col(IdempotencyRecord.created_at) < keys_end))
    progress_ends = func.now() - timedelta(days=PROGRESS_DAYS)
    outlived = col(Event.kind) == events.PROGRESS, col(Event.created_at) < progress_ends
    session.execute(delete(Event).where(col(Event.id).in_(select(Event.id).where(*outlived).limit(MOST_FORGOTTEN))))
