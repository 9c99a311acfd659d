"""What a job's child process does: carry out one claim, and write its outcome itself, guarded by the fence."""

import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from functools import partial
from types import FrameType
from typing import Protocol

from sqlalchemy.exc import OperationalError

from segsmith_shared.database.session import engine_for
from segsmith_shared.jobs import states
from segsmith_shared.jobs.claim import Claim
from segsmith_shared.jobs.context import STOP_REASONS, Step, StepContext, StopReason
from segsmith_shared.jobs.heap import keep_freed_memory
from segsmith_shared.jobs.persistence import written
from segsmith_shared.jobs.tether import die_with_parent
from segsmith_shared.problems import Problem
from segsmith_shared.settings import Settings
from segsmith_shared.telemetry import configure_logging, identified, logger

log = logger(__name__)

STORED, NOT_STORED = 0, 70


class Flag(Protocol):
    """An integer in shared memory: index into STOP_REASONS."""

    value: int


def run(claim: Claim, entry: str, settings: Settings, flag: Flag) -> None:
    """Carry out the claim with the step at `entry` (`module:function`). Exits with STORED when the database knows."""
    _settle_in(flag)
    configure_logging("job")
    with identified(job_id=str(claim.job_id), kind=claim.kind, fence=claim.fence):
        engine = engine_for(settings.database_url.get_secret_value(), pool_size=2, application="segsmith job")
        context = StepContext(claim, settings, engine, lambda: STOP_REASONS[flag.value])
        try:
            _carry_out(context, entry)
        except states.Superseded as stale:
            log.warning("ignored: another claim owns the job", detail=str(stale))
        except OperationalError as error:
            log.error("the outcome could not be written", error=str(error))
            sys.exit(NOT_STORED)
    sys.exit(STORED)


def _carry_out(context: StepContext, entry: str) -> None:
    claim = context.claim
    try:
        outcome = _step_at(entry, context)(context)
        began = context.wrap_up_began or time.monotonic()
        status = written(
            context.engine,
            lambda session: states.write_outcome(
                session,
                claim,
                outcome,
                figures=context.latest_progress,
                peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                wrap_up_seconds=time.monotonic() - began,
            ),
        )
        log.info("outcome written", outcome=type(outcome).__name__, status=str(status))
    except states.Superseded:
        raise
    except Problem as problem:
        log.warning("the job met a problem", code=problem.code, detail=problem.detail)
        end = states.attempt_failed if problem.retryable else states.fail
        written(context.engine, partial(end, held=claim, problem=problem))
    except Exception as error:  # whatever a step raises is told to a person and counted, never lost
        log.exception("the step failed")
        told = states.JobFailed(f"{type(error).__name__}: {error}", hint="The worker's log has the traceback.")
        written(context.engine, partial(states.attempt_failed, held=claim, problem=told))


def _step_at(entry: str, context: StepContext) -> Step:
    module, _, function = entry.partition(":")
    step: Step = getattr(importlib.import_module(module), function)
    if torch := sys.modules.get("torch"):
        keep_freed_memory()
        torch.set_num_threads(int(context.spec.get("torch_threads") or context.settings.torch_threads))
    return step


def _settle_in(flag: Flag) -> None:
    """A group of its own, dead when the worker is; SIGTERM means: stop at the next step. Ctrl-C is the worker's."""
    os.setpgrp()
    die_with_parent()
    worker = multiprocessing.parent_process()
    if worker is None or not worker.is_alive():
        sys.exit(NOT_STORED)
    own_pid = os.getpid()

    def stop_at_next_step(number: int, _frame: FrameType | None) -> None:
        if os.getpid() == own_pid:
            flag.value = max(flag.value, STOP_REASONS.index(StopReason.SHUTDOWN))
        else:  # a process that a step forked: there SIGTERM means what it always does
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, stop_at_next_step)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
