"""Serves one queue: a ring, or the start, makes it claim and run jobs one by one until none is left to claim."""

import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from celery import bootsteps, signals
from celery.apps.worker import Worker as CeleryWorker
from celery.platforms import SecurityWarning
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from segsmith_shared.database.session import engine_for, session_scope
from segsmith_shared.database.tables import JobKind
from segsmith_shared.jobs import bell, queue, states
from segsmith_shared.jobs.child import Child, start_fork_server
from segsmith_shared.jobs.claim import Claim
from segsmith_shared.jobs.context import StopReason
from segsmith_shared.jobs.health import Health
from segsmith_shared.jobs.heartbeat import Heart
from segsmith_shared.jobs.inside import STORED
from segsmith_shared.jobs.persistence import written
from segsmith_shared.settings import Settings, settings_or_exit
from segsmith_shared.telemetry import configure_logging, identified, logger

log = logger(__name__)

LISTENS_EVERY_SECONDS = 10.0
DEAF_SECONDS, DEAF_FOR_GOOD_SECONDS = 45.0, 600.0


class Worker:
    """Owns the heart, the fork server and at most one child. `drain` runs in the main thread only."""

    def __init__(self, queue_name: str, steps: Mapping[JobKind, str], settings: Settings) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.stopping = False
        self._queue = queue_name
        self._steps = {str(kind): entry for kind, entry in steps.items()}
        self._settings = settings
        url = settings.database_url.get_secret_value()
        self._engine = engine_for(url, pool_size=2, application="segsmith worker")
        self._health = Health(settings.health_file, ("heart", "database", "bell"))
        self._heart = Heart(url, settings.beat_seconds, self._health)
        self._heart.start()
        self._child: Child | None = None

    def drain(self) -> bool:
        """Run jobs until none can be claimed or we are to stop. A database that is away ends it; rings come again.

        Returns whether the database answered to the end.
        """
        self._health.well("bell")  # nobody listens while a job runs, and nobody needs to: we look again after it
        try:
            while not self.stopping and (claim := self._claim()):
                with identified(job_id=str(claim.job_id), kind=claim.kind, fence=claim.fence):
                    self._run(claim)
                self._ring_others()
        except OperationalError as error:
            log.warning("stopped draining: the database does not answer", queue=self._queue, error=str(error))
            return False
        finally:
            self.listens()
        return True

    def listens(self) -> None:
        """The bell can be heard. One that was mute for ten minutes calls for a new start, which looks without a ring:

        either Celery is stuck, or Redis is away, and then nothing better can be done.
        """
        self._health.well("bell", ready_seconds=DEAF_SECONDS, live_seconds=DEAF_FOR_GOOD_SECONDS)

    def stop(self) -> None:
        """Let the running job stop at its next step and claim no more. Safe in a signal handler."""
        self.stopping = True
        if self._child:
            self._child.ask(StopReason.SHUTDOWN)

    def close(self) -> None:
        self._heart.end()
        self._engine.dispose()

    def _claim(self) -> Claim | None:
        with session_scope(self._engine) as session:
            return states.claim(session, self._queue, self.name)

    def _run(self, claim: Claim) -> None:
        entry = self._steps.get(claim.kind)
        if entry is None:
            served = ", ".join(sorted(self._steps))
            self._write(partial(states.fail, held=claim, problem=_unserved(claim, served)))
            return
        log.info("claimed", name=claim.name, slice_number=claim.slice_number)
        child = Child(claim, entry, self._settings)
        self._child = child
        if self.stopping:  # the signal came between the claim and now
            child.ask(StopReason.SHUTDOWN)
        self._heart.watch(claim, child)  # also while it starts: a new fork server imports for seconds
        try:
            child.start()
            exit_code = child.wait()
        except (OSError, EOFError) as error:
            log.exception("no child process could be started")
            never = states.JobFailed(f"Its process could not be started: {error}", hint="Look at the worker's log.")
            self._write(partial(states.attempt_failed, held=claim, problem=never))
            return
        finally:
            self._heart.leave()
            self._child = None
            child.close()
        if exit_code != STORED:
            self._settle(claim, child, exit_code)

    def _settle(self, claim: Claim, child: Child, exit_code: int) -> None:
        """The child could not write its end itself: write it, unless a newer claim owns the job."""
        log.warning("the job's process ended early", exit_code=exit_code, killed_for=child.killed_for)
        if child.killed_for or self.stopping:
            self._write(partial(states.release, held=claim))
        else:
            lost = states.JobFailed(_how_it_ended(exit_code, child.peak_memory_bytes), hint=_what_to_do(exit_code))
            self._write(partial(states.attempt_failed, held=claim, problem=lost))

    def _write(self, write: Callable[[Session], Any]) -> None:
        try:
            written(self._engine, write)
        except states.Superseded as stale:
            log.info("ignored: another claim owns the job", detail=str(stale))

    def _ring_others(self) -> None:
        """What we finished may let other jobs start: on other queues, or beside the one that we take next."""
        with session_scope(self._engine) as session:
            claimable = queue.claimable_counts(session)
        for name, count in claimable.items():
            ours = int(name == self._queue and not self.stopping)
            if count > ours:
                bell.ring(name, count - ours, redis_url=self._settings.redis_url.get_secret_value())


def serve(queue: str, steps: Mapping[JobKind, str], preload: Sequence[str]) -> None:
    """Run a worker until SIGTERM or Ctrl-C; then its job stops at the next step and is queued again. Exits with 0.

    With `worker_until_empty` it ends of itself when nothing is left to claim, or with 1 when it could not find out.
    `steps` says where each kind's step is (`module:function`), `preload` what the fork server imports.
    """
    configure_logging(f"worker-{queue}")
    here = settings_or_exit()
    start_fork_server(preload)
    worker = Worker(queue, steps, here)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    well = worker.drain()  # before the bell: what waited while nobody served needs no ring, and no Redis
    if not worker.stopping and not here.worker_until_empty:
        exit_code = _listen(queue, worker, here)
    else:
        exit_code = 0 if well or worker.stopping else 1
    worker.close()
    log.info("ended", queue=queue, exit_code=exit_code)
    sys.exit(exit_code)


def _listen(queue: str, worker: Worker, here: Settings) -> int:
    """Hand the main thread to Celery: it calls `drain` at every ring, and `stop` when it is told to end."""
    app = bell.application(here.redis_url.get_secret_value())

    def drain(_queue: str) -> None:  # a name of its own: Celery builds its signature from it
        worker.drain()

    app.task(drain, name=bell.DRAIN)
    app.steps["consumer"].add(_Listening)
    ended, silent = (lambda **_: worker.stop()), (lambda **_: None)
    signals.worker_shutting_down.connect(ended)
    signals.setup_logging.connect(silent)  # ours is set up already
    # as root (a container, a laptop) Celery warns of hostile messages; ours say one queue name, in JSON
    warnings.filterwarnings("ignore", category=SecurityWarning)
    listener = _Listener(
        worker,
        app=app,
        queues=[bell.name_of(queue)],
        pool="solo",
        concurrency=1,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    listener.start()
    return int(listener.exitcode or 0)


class _Listener(CeleryWorker):  # type: ignore[misc]  # Celery has no types
    """Celery's worker, which also obeys a signal that came before it could hear any: our `worker` heard that one."""

    def __init__(self, worker: Worker, **options: object) -> None:
        self.listens = worker.listens
        self._worker = worker
        super().__init__(**options)

    def install_platform_tweaks(self, worker: object) -> None:
        """Called by Celery after set-up and before it looks for the broker, which may take for ever."""
        super().install_platform_tweaks(worker)
        if self._worker.stopping:
            os.kill(os.getpid(), signal.SIGTERM)


class _Listening(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Says again and again that the bell can be heard, from Celery's own loop, for as long as the broker is there."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    _entry: Any = None

    def start(self, consumer: Any) -> None:
        listens = consumer.controller.listens
        listens()
        self._entry = consumer.timer.call_repeatedly(LISTENS_EVERY_SECONDS, listens)

    def stop(self, consumer: Any) -> None:
        """Also called where the broker was lost before the start."""
        if self._entry:
            self._entry.cancel()


def _unserved(claim: Claim, served: str) -> states.JobFailed:
    return states.JobFailed(
        f"The worker of queue {claim.queue} knows no step for kind {claim.kind!r}; it knows {served}.",
        hint="Run api and workers of the same version.",
    )


def _how_it_ended(exit_code: int, peak_memory_bytes: int) -> str:
    if exit_code >= 0:
        return f"Its process ended with exit code {exit_code} and left no outcome."
    maybe = " (out of memory?)" if exit_code == -signal.SIGKILL else f" ({signal.Signals(-exit_code).name})"
    return f"Its process was killed by signal {-exit_code}{maybe}; it held up to {peak_memory_bytes / 2**20:,.0f} MiB."


def _what_to_do(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "Give the worker more memory or choose a smaller batch or preset, then retry."
    return "Look at the worker's log, then retry."
