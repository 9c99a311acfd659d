"""The only writer of a job's status. Every change is a transition named here and leaves an event."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, text, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from segsmith_shared.database.among import among
from segsmith_shared.database.tables import Artifact, Job, JobDependency, JobStatus
from segsmith_shared.jobs import events, needs, queue
from segsmith_shared.jobs.claim import Claim
from segsmith_shared.jobs.outcomes import Finished, FollowUp, Outcome, SliceDone, Stopped
from segsmith_shared.problems import Conflict, NotFound, Problem

QUEUED, RUNNING, PAUSED = JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED
SUCCEEDED, FAILED, CANCELLED = JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED

TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    QUEUED: frozenset({RUNNING, PAUSED, CANCELLED}),
    RUNNING: frozenset({QUEUED, PAUSED, SUCCEEDED, FAILED, CANCELLED}),
    PAUSED: frozenset({QUEUED, CANCELLED}),
    SUCCEEDED: frozenset({QUEUED}),  # only what runs whatever its needs' end, when one of those is retried
    FAILED: frozenset({QUEUED}),
    CANCELLED: frozenset({QUEUED}),
}
ENDED = frozenset({SUCCEEDED, FAILED, CANCELLED})
REQUESTS = "segsmith_job_requests"  # a NOTIFY channel: the heart of a running job listens for its id
TURN_MINUTES = 10
HOOKS_KEY = 0x5E65  # first half of the two-number advisory locks under which hooks of one pipeline take turns


class Superseded(Exception):
    """The claim is stale: the job was rescued, ended or claimed again. Whatever the worker made is ignored."""


class JobFailed(Problem):
    """The job cannot be finished."""

    status = 500
    title = "The job failed"


class NeedNotMet(Problem):
    """A job that this one needs has failed or was cancelled."""

    status = 409
    title = "A job that this one needs did not succeed"


# ---- what workers do -------------------------------------------------------------------------------------------------


def claim(session: Session, queue_name: str, worker: str) -> Claim | None:
    """Make the next claimable job of the queue this worker's; None where nothing can start now."""
    job = _claimed(session, queue.next_claimable(queue_name), worker)
    job = job or _claimed(session, queue.next_claimable(queue_name, whatever_was_noted=True), worker)
    if job is None:
        return None
    _note_status(session, job, worker=worker)
    return Claim.of(job)


def _claimed(session: Session, which: Select[UUID], worker: str) -> Job | None:
    statement = (
        update(Job)
        .where(col(Job.id) == which.scalar_subquery())
        .values(
            status=RUNNING,
            fence=Job.fence + 1,
            claimed_by=worker,
            claimed_at=func.now(),
            beat_at=func.now(),
            started_at=func.coalesce(Job.started_at, func.now()),
            not_before=None,
        )
        .returning(Job)
        .execution_options(synchronize_session=False)
    )
    return session.scalars(statement).one_or_none()


def guarded(session: Session, held: Claim) -> tuple[Job, datetime]:
    """The claimed job, locked for this transaction, and the database's time. Raises Superseded for a stale claim."""
    statement = (
        select(Job, func.clock_timestamp())
        .where(col(Job.id) == held.job_id, col(Job.fence) == held.fence, col(Job.status) == RUNNING)
        .with_for_update(key_share=True, of=Job)
    )
    found = session.exec(statement).one_or_none()
    if found is None:
        raise Superseded(f"job {held.job_id} is no longer running under fence {held.fence}")
    job, moment = found
    return job, moment


def progress(session: Session, job: Job, figures: dict[str, Any]) -> None:
    """Write how far a running job is, with whatever figures the step gave."""
    job.progress_done, job.progress_total = figures["done"], figures["total"]
    job.progress_unit = figures["unit"]
    session.add(job)
    events.record(session, job, events.PROGRESS, figures)


def write_outcome(
    session: Session,
    held: Claim,
    outcome: Outcome,
    *,
    figures: dict[str, Any] | None = None,
    peak_memory_bytes: int = 0,
    wrap_up_seconds: float = 0.0,
) -> JobStatus:
    """Write what the step returned, all of it in this transaction, and the status that follows. Returns that status.

    Whoever asked to cancel before the end gets a cancelled job: what it finished is dropped, its last slice stays.
    Raises Superseded, and then nothing may be committed, when the claim is stale.
    """
    if outcome.in_transaction and held.pipeline_id:
        _take_turns(session, held.pipeline_id)
    job, moment = guarded(session, held)
    if figures:
        progress(session, job, figures)
    job.peak_memory_bytes = max(job.peak_memory_bytes, peak_memory_bytes)
    if isinstance(outcome, Finished) and job.cancel_requested:
        return _leave_unfinished(session, job, moment)
    session.add_all(outcome.rows)
    session.add_all(
        Artifact(job_id=job.id, name=name, media_type=media_type, digest=digest, size_bytes=size)
        for name, media_type, digest, size in outcome.artifacts
    )
    session.flush()
    match outcome:
        case Finished():
            _finish(session, job, moment, outcome)
        case SliceDone(state=state):
            job.slice_state, job.slice_number, job.attempts = state or None, job.slice_number + 1, 0
            job.wrap_up_seconds = wrap_up_seconds
            _leave_unfinished(session, job, moment)
        case Stopped(state=state):
            job.slice_state = state or None
            _leave_unfinished(session, job, moment)
    session.flush()
    if outcome.in_transaction:
        outcome.in_transaction(session)
    return JobStatus(job.status)


def release(session: Session, held: Claim) -> JobStatus:
    """Give the job back without an outcome and without counting an attempt: people stopped it, it did not fail."""
    job, moment = guarded(session, held)
    return _leave_unfinished(session, job, moment)


def fail(session: Session, held: Claim, problem: Problem) -> JobStatus:
    """End the job as failed: the input is at fault, and trying again would not help."""
    job, moment = guarded(session, held)
    job.attempts += 1
    _end_badly(session, job, moment, FAILED, problem.as_document())
    return JobStatus(job.status)


def attempt_failed(session: Session, held: Claim, problem: Problem) -> JobStatus:
    """Count an attempt that ended without a finished slice; queued again, or failed after `max_attempts` of them."""
    job, moment = guarded(session, held)
    return _count_attempt(session, job, moment, problem)


# ---- what the caretaker does -----------------------------------------------------------------------------------------


def rescue_silent(session: Session, silent_seconds: float) -> list[UUID]:
    """Take running jobs from workers that have not been heard of for so long. Returns their ids."""
    statement = (
        select(Job, func.clock_timestamp())
        .where(
            col(Job.status) == RUNNING,
            col(Job.beat_at) < func.clock_timestamp() - timedelta(seconds=silent_seconds),
        )
        .order_by(col(Job.id))
        .with_for_update(key_share=True, of=Job, skip_locked=True)
    )
    rescued = []
    for job, moment in session.exec(statement).all():
        lost = JobFailed(
            f"Worker {job.claimed_by} was not heard of for {silent_seconds:g} s while it ran this job.",
            hint="Look at that machine and its log; then retry this job.",
        )
        _count_attempt(session, job, moment, lost)
        rescued.append(job.id)
    return rescued


def cancel_orphans(session: Session) -> list[UUID]:
    """Cancel every waiting job that needs one which failed or was cancelled, and whoever needs those in turn.

    Done with each such end; the caretaker repeats it for jobs that were added at the same moment.
    """
    cancelled: list[UUID] = []
    while orphans := _blocked_by_ended(session):
        for job, need, moment in orphans:
            if job.status in ENDED:
                continue  # met twice: it has two such needs
            _end_badly(session, job, moment, CANCELLED, _need_not_met(need).as_document(), with_orphans=False)
            cancelled.append(job.id)
        session.flush()
    return cancelled


# ---- what people do --------------------------------------------------------------------------------------------------


def enqueue(session: Session, jobs: Iterable[Job], *, paused: bool = False) -> None:
    """Add new jobs as queued, or held from the start."""
    for job in jobs:
        job.status = PAUSED if paused else QUEUED
        session.add(job)
        _note_status(session, job)


def cancel(session: Session, job_id: UUID) -> Job:
    """Cancel now if it waits, within one step if it runs. Raises NotFound, or Conflict where it has ended otherwise."""
    job, moment = _locked(session, job_id)
    if job.status in (SUCCEEDED, FAILED):
        raise Conflict(f"The job has already {job.status}; there is nothing to cancel.")
    _cancel(session, job, moment)
    return job


def pause(session: Session, job_id: UUID) -> Job:
    """Hold the job: at once if it waits, at its next checkpoint if it runs. Raises NotFound, Conflict."""
    job, _ = _locked(session, job_id)
    if job.status in ENDED:
        raise Conflict(f"The job is {job.status} and cannot be paused.")
    _pause(session, job)
    return job


def resume(session: Session, job_id: UUID) -> Job:
    """Go on with a paused job, or take back a pause that has not come about. Raises NotFound, Conflict."""
    job, _ = _locked(session, job_id)
    if job.status in ENDED:
        raise Conflict(f"The job is {job.status} and cannot be resumed.", hint="Retry it where it failed.")
    _resume(session, job)
    return job


def retry(session: Session, job_id: UUID) -> Job:
    """Queue a failed or cancelled job again, from its last slice, with the jobs that its end had cancelled.

    Jobs that ran whatever its end was (a report) run again too. Raises NotFound; Conflict where it has not ended, has
    succeeded, or needs a job that has not succeeded.
    """
    job, _ = _locked(session, job_id)
    if job.status not in queue.ENDED_BADLY:
        raise Conflict(f"The job is {job.status}; only a failed or cancelled one can be retried.")
    for blocked, need, _ in _blocked_by_ended(session, job_id):
        unmet = _need_not_met(need)
        raise Conflict(f"{blocked.name or blocked.kind!r} cannot run. {unmet.detail}", hint=unmet.hint)
    _queue_again(session, job)
    for dependant in _dependants(session, job_id):
        _queue_again(session, dependant, afresh=dependant.status == SUCCEEDED)
    session.flush()
    cancel_orphans(session)
    return job


def cancel_pipeline(session: Session, pipeline_id: UUID) -> list[Job]:
    """Cancel whatever of the pipeline has not ended. Returns its jobs."""
    locked = _locked_pipeline(session, pipeline_id)
    for job, moment in locked:
        if job.status not in ENDED:
            _cancel(session, job, moment, with_orphans=False)
    session.flush()
    cancel_orphans(session)
    return [job for job, _ in locked]


def pause_pipeline(session: Session, pipeline_id: UUID) -> list[Job]:
    """Hold whatever of the pipeline has not ended. Returns its jobs."""
    locked = _locked_pipeline(session, pipeline_id)
    for job, _ in locked:
        if job.status not in ENDED:
            _pause(session, job)
    return [job for job, _ in locked]


def resume_pipeline(session: Session, pipeline_id: UUID) -> list[Job]:
    """Go on with whatever of the pipeline was paused. Returns its jobs."""
    locked = _locked_pipeline(session, pipeline_id)
    for job, _ in locked:
        _resume(session, job)
    return [job for job, _ in locked]


# ---- transitions -----------------------------------------------------------------------------------------------------


def _move(session: Session, job: Job, to: JobStatus, **data: Any) -> None:
    if to not in TRANSITIONS[JobStatus(job.status)]:
        raise Conflict(f"A {job.status} job cannot become {to}.")
    job.status = to
    session.add(job)
    _note_status(session, job, **data)


def _note_status(session: Session, job: Job, **data: Any) -> None:
    told = {"status": str(job.status), "slice_number": job.slice_number, "attempts": job.attempts}
    events.record(session, job, events.STATUS, told | data)


def _finish(session: Session, job: Job, moment: datetime, outcome: Finished) -> None:
    job.outputs, job.problem, job.attempts = outcome.outputs, None, 0
    _stop_the_clock(job, moment)
    job.finished_at = moment
    held_back, job.pause_requested = job.pause_requested, False
    _move(session, job, SUCCEEDED)
    session.flush()
    _add_follow_ups(session, job, outcome.follow_ups, paused=held_back)
    needs.release(session, job.id)


def _add_follow_ups(session: Session, parent: Job, follow_ups: Sequence[FollowUp], *, paused: bool) -> None:
    if not follow_ups:
        return
    needs.refuse_circles({follow_up.job.id: follow_up.needs for follow_up in follow_ups})
    needs.require_waiting(session, {waiting for follow_up in follow_ups for waiting in follow_up.needed_by})
    for follow_up in follow_ups:
        follow_up.job.pipeline_id = follow_up.job.pipeline_id or parent.pipeline_id
    enqueue(session, [follow_up.job for follow_up in follow_ups], paused=paused)
    session.flush()
    edges = [(follow_up.job.id, need) for follow_up in follow_ups for need in follow_up.needs]
    edges += [(waiting, follow_up.job.id) for follow_up in follow_ups for waiting in follow_up.needed_by]
    needs.write(session, edges)
    cancel_orphans(session)


def _leave_unfinished(session: Session, job: Job, moment: datetime) -> JobStatus:
    """From running to where the requests of people lead: cancelled, paused, or else queued again."""
    if job.cancel_requested:
        _end_badly(session, job, moment, CANCELLED, None)
        return CANCELLED
    _stop_the_clock(job, moment)
    to = PAUSED if job.pause_requested else QUEUED
    job.pause_requested = False
    _move(session, job, to)
    return to


def _count_attempt(session: Session, job: Job, moment: datetime, problem: Problem) -> JobStatus:
    job.attempts += 1
    if job.attempts >= job.max_attempts and not job.cancel_requested:
        _end_badly(session, job, moment, FAILED, problem.as_document())
        return FAILED
    if job.attempts > 1:  # the first time may be bad luck; after that, let whatever is wrong pass
        job.not_before = moment + timedelta(seconds=min(60, 2**job.attempts))
    events.record(session, job, events.MESSAGE, {"text": problem.detail, "attempt": job.attempts})
    return _leave_unfinished(session, job, moment)


def _end_badly(
    session: Session,
    job: Job,
    moment: datetime,
    to: JobStatus,
    problem: dict[str, Any] | None,
    *,
    with_orphans: bool = True,
) -> None:
    _stop_the_clock(job, moment)
    job.finished_at, job.problem = moment, problem
    job.cancel_requested = job.pause_requested = False
    _move(session, job, to, **({"problem": problem} if problem else {}))
    if with_orphans:
        session.flush()
        cancel_orphans(session)


def _queue_again(session: Session, job: Job, *, afresh: bool = False) -> None:
    job.attempts, job.problem, job.finished_at, job.not_before = 0, None, None, None
    if afresh:
        job.slice_number, job.slice_state, job.outputs = 0, None, {}
    _move(session, job, QUEUED)


def _stop_the_clock(job: Job, moment: datetime) -> None:
    if job.status == RUNNING and job.claimed_at is not None:
        job.run_seconds += max(0.0, (moment - job.claimed_at).total_seconds())


def _cancel(session: Session, job: Job, moment: datetime, *, with_orphans: bool = True) -> None:
    if job.status == RUNNING:
        _request(session, job, cancel_requested=True)
    elif job.status != CANCELLED:
        _end_badly(session, job, moment, CANCELLED, None, with_orphans=with_orphans)


def _pause(session: Session, job: Job) -> None:
    if job.status == RUNNING:
        _request(session, job, pause_requested=True)
    elif job.status == QUEUED:
        _move(session, job, PAUSED)


def _resume(session: Session, job: Job) -> None:
    if job.status == PAUSED:
        _move(session, job, QUEUED)
    elif job.status == RUNNING and job.pause_requested:
        _request(session, job, pause_requested=False)


def _request(session: Session, job: Job, **requested: bool) -> None:
    """Ask the worker of a running job; its heart hears the notification, and reads the row at every beat besides."""
    for name, value in requested.items():
        setattr(job, name, value)
    session.add(job)
    _note_status(session, job, **requested)
    session.execute(text("SELECT pg_notify(:channel, :job_id)"), {"channel": REQUESTS, "job_id": str(job.id)})


# ---- rows ------------------------------------------------------------------------------------------------------------


def _locked(session: Session, job_id: UUID) -> tuple[Job, datetime]:
    statement = (
        select(Job, func.clock_timestamp())
        .where(col(Job.id) == job_id)
        .with_for_update(key_share=True, of=Job)
        .execution_options(populate_existing=True)
    )
    found = session.exec(statement).one_or_none()
    if found is None:
        raise NotFound(f"There is no job {job_id}.")
    return found[0], found[1]


def _locked_pipeline(session: Session, pipeline_id: UUID) -> Sequence[tuple[Job, datetime]]:
    """The pipeline's jobs, locked in the order of their ids, as everywhere: so that transactions cannot deadlock."""
    statement = (
        select(Job, func.clock_timestamp())
        .where(col(Job.pipeline_id) == pipeline_id)
        .order_by(col(Job.id))
        .with_for_update(key_share=True, of=Job)
        .execution_options(populate_existing=True)
    )
    return session.exec(statement).all()


def _blocked_by_ended(session: Session, *job_ids: UUID) -> Sequence[tuple[Job, Job, datetime]]:
    """(job, need, moment) where the need ended badly and that matters to the job; the jobs are locked, in order."""
    need = aliased(Job)
    statement = (
        select(Job, need, func.clock_timestamp())
        .join(JobDependency, col(JobDependency.job_id) == col(Job.id))
        .join(need, col(need.id) == col(JobDependency.needs_id))
        .where(col(need.status).in_(queue.ENDED_BADLY), ~col(JobDependency.even_if_failed))
        .order_by(col(Job.id), col(need.finished_at))
        .with_for_update(key_share=True, of=Job)
        .execution_options(populate_existing=True)
    )
    waiting = col(Job.id).in_(job_ids) if job_ids else col(Job.status).in_((QUEUED, PAUSED))
    return session.exec(statement.where(waiting)).all()


def _dependants(session: Session, root_id: UUID) -> list[Job]:
    """The jobs that the root's end had cancelled, and those that ended after it whatever its end was; all the way."""
    found: dict[UUID, Job] = {}
    edge = {root_id}
    while edge:
        statement = (
            select(Job, JobDependency.even_if_failed)
            .join(JobDependency, col(JobDependency.job_id) == col(Job.id))
            .where(among(col(JobDependency.needs_id), edge), col(Job.status).in_(ENDED), ~among(col(Job.id), found))
            .order_by(col(Job.id))
            .with_for_update(key_share=True, of=Job)
        )
        reached = {
            job.id: job
            for job, even_if_failed in session.exec(statement).all()
            if even_if_failed or (job.problem or {}).get("failed_job_id") == str(root_id)
        }
        found |= reached
        edge = set(reached)
    return list(found.values())


def _need_not_met(need: Job) -> NeedNotMet:
    """The problem of a job whose need ended badly; it names the first cause, however many jobs lie between."""
    cause = need.problem or {}
    if "failed_job_id" in cause:
        return NeedNotMet(cause["detail"], hint=cause["hint"], failed_job_id=cause["failed_job_id"])
    advice = [cause.get("hint", ""), f"Retry {need.name or need.kind!r}: this job is then queued again."]
    return NeedNotMet(
        f"It needs {_told(need)}.",
        hint=" ".join(filter(None, advice)),
        failed_job_id=str(need.id),
    )


def _told(need: Job) -> str:
    reason = (need.problem or {}).get("detail", "")
    name = f"{need.name or need.kind!r} (job {need.id})"
    return f"{name}, which was cancelled" if need.status == CANCELLED else f"{name}, which failed: {reason}".rstrip(".")


def _take_turns(session: Session, pipeline_id: UUID) -> None:
    """Wait until no other finishing transaction of the pipeline runs its hook. Taken before any row, so no deadlock.

    The other may be writing a set of a million pairs, so this waits longer than for a lock on a row.
    """
    key = pipeline_id.int >> 97
    session.execute(text(f"SET LOCAL lock_timeout = '{TURN_MINUTES}min'"))
    session.execute(text(f"SET LOCAL statement_timeout = '{TURN_MINUTES}min'"))
    session.execute(text("SELECT pg_advisory_xact_lock(:hooks, :key)"), {"hooks": HOOKS_KEY, "key": key})
    session.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
    session.execute(text("SET LOCAL statement_timeout TO DEFAULT"))
