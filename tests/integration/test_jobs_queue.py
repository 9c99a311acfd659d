"""The rows of the job engine over real Postgres, without workers: claims, needs, endings, requests and events."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, update
from sqlmodel import Session, col, func, select

from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import Artifact, Event, IdempotencyRecord, Job, JobKind, JobStatus, Pipeline
from segsmith_shared.jobs import caretaker, events, plan, queue, states
from segsmith_shared.jobs.caretaker import Caretaker
from segsmith_shared.jobs.claim import Claim
from segsmith_shared.jobs.needs import CircularNeeds
from segsmith_shared.jobs.outcomes import Finished, FollowUp, SliceDone, Stopped
from segsmith_shared.jobs.probe import ProbeSpec
from segsmith_shared.plans.pipeline import PlannedJob
from segsmith_shared.problems import Conflict, NotFound
from segsmith_shared.settings import Settings


class Desk:
    """One person and one worker at the same database, each act a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pipeline_id = Pipeline(name="rows").id
        with session_scope(engine) as session:
            session.add(Pipeline(id=self.pipeline_id, name="rows"))

    def submit(self, name: str, *needs: UUID, priority: int = 0, queue: str = "cpu", **changes: Any) -> UUID:
        job = PlannedJob(uuid4(), JobKind.PROBE, name, queue, ProbeSpec(), needs, **changes)
        self.do(lambda session: plan.submit(session, [job], pipeline_id=self.pipeline_id, priority=priority))
        return job.id

    def do(self, change: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with session_scope(self.engine) as session:
            return change(session, *arguments, **named)

    def claim(self) -> Claim:
        claim: Claim | None = self.do(states.claim, "cpu", "desk")
        assert claim is not None
        return claim

    def finish(self, claim: Claim, **finished: Any) -> Any:
        return self.do(states.write_outcome, claim, Finished(**finished))

    def job(self, job_id: UUID) -> Job:
        found: Job = self.do(lambda session: session.exec(select(Job).where(col(Job.id) == job_id)).one())
        return found

    def status(self, *job_ids: UUID) -> list[str]:
        return [self.job(job_id).status for job_id in job_ids]

    def names(self) -> list[str]:
        """The names of the jobs in the order of their claims, until nothing more can be claimed; each is finished."""
        claimed = []
        while claim := self.do(states.claim, "cpu", "desk"):
            claimed.append(claim.name)
            self.finish(claim)
        return claimed


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


def test_twenty_claimers_at_once_never_share_a_job(desk: Desk) -> None:
    wanted = {desk.submit(f"job {number}") for number in range(60)}
    start = threading.Barrier(20)

    def claim_all(worker: int) -> list[UUID]:
        claimed = []
        start.wait()
        while claim := desk.do(states.claim, "cpu", f"worker {worker}"):
            claimed.append(claim.job_id)
        return claimed

    with ThreadPoolExecutor(20) as pool:
        claimed = [job_id for ids in pool.map(claim_all, range(20)) for job_id in ids]
    assert len(claimed) == len(set(claimed)) == 60
    assert set(claimed) == wanted
    assert {desk.job(job_id).fence for job_id in wanted} == {1}


def test_lower_priority_numbers_and_older_jobs_go_first(desk: Desk) -> None:
    desk.submit("late", priority=5)
    desk.submit("first of the usual")
    desk.submit("second of the usual")
    desk.submit("urgent", priority=-1)
    assert desk.names() == ["urgent", "first of the usual", "second of the usual", "late"]


def test_a_job_waits_until_all_its_needs_have_succeeded(desk: Desk) -> None:
    one, other = desk.submit("one"), desk.submit("other")
    desk.submit("both", one, other)
    first, second = desk.claim(), desk.claim()
    assert desk.do(states.claim, "cpu", "desk") is None
    desk.finish(first)
    assert desk.do(queue.claimable_counts) == {}
    desk.finish(second)
    assert desk.do(queue.claimable_counts) == {"cpu": 1}
    assert desk.names() == ["both"]


def test_a_waiting_job_is_noted_as_such_and_the_note_goes_with_its_last_need(desk: Desk) -> None:
    one, other = desk.submit("one"), desk.submit("other")
    both = desk.submit("both", one, other)
    report = desk.submit("report", one, other, even_if_needs_failed=True)
    assert (desk.job(one).waits, desk.job(both).waits, desk.job(report).waits) == (False, True, False)
    desk.finish(desk.claim())
    assert desk.job(both).waits
    desk.finish(desk.claim())
    assert not desk.job(both).waits


def test_a_note_that_outlives_the_last_need_holds_nobody_up_and_the_caretaker_takes_it(
    desk: Desk, settings: Settings
) -> None:
    one, other = desk.submit("one"), desk.submit("other")
    both = [desk.submit(f"both {number}", one, other) for number in range(2)]
    first, second = desk.claim(), desk.claim()
    with session_scope(desk.engine) as left, session_scope(desk.engine) as right:  # neither sees the other end
        states.write_outcome(left, first, Finished())
        states.write_outcome(right, second, Finished())
    assert [desk.job(job_id).waits for job_id in both] == [True, True]
    assert desk.do(queue.claimable_counts) == {"cpu": 2}
    assert desk.claim().job_id == both[0]
    Caretaker(settings, desk.engine).round()
    assert not desk.job(both[1]).waits


def test_many_jobs_of_one_queue_do_not_hide_those_of_the_other(desk: Desk) -> None:
    for number in range(queue.MOST_COUNTED + 10):
        desk.submit(f"training {number}", queue="gpu")
    one = desk.submit("evaluation")
    assert desk.do(queue.claimable_counts) == {"gpu": queue.MOST_COUNTED, "cpu": 1}
    late = desk.submit("evaluation whose note is late")
    desk.do(lambda session: session.execute(update(Job).where(col(Job.id).in_([one, late])).values(waits=True)))
    assert desk.do(queue.claimable_counts) == {"gpu": queue.MOST_COUNTED, "cpu": 2}


def test_jobs_that_need_each_other_are_refused_whole(desk: Desk) -> None:
    one, other = uuid4(), uuid4()
    circle = [
        PlannedJob(one, JobKind.PROBE, "one", "cpu", ProbeSpec(), (other,)),
        PlannedJob(other, JobKind.PROBE, "other", "cpu", ProbeSpec(), (one,)),
    ]
    with pytest.raises(CircularNeeds):
        desk.do(plan.submit, circle)
    assert desk.do(queue.claimable_counts) == {}


def test_the_dependants_of_a_failed_job_end_with_its_reason_and_return_with_its_retry(desk: Desk) -> None:
    root = desk.submit("train cluster 3")
    near = desk.submit("generate", root)
    far = desk.submit("evaluate", near)
    report = desk.submit("report", far, near, even_if_needs_failed=True)
    desk.do(states.fail, desk.claim(), states.JobFailed("Loss is not finite.", hint="Lower the rate."))
    assert desk.status(root, near, far, report) == ["failed", "cancelled", "cancelled", "queued"]
    for job_id in (near, far):
        problem = desk.job(job_id).problem
        assert problem
        assert problem["failed_job_id"] == str(root)
        assert "'train cluster 3'" in problem["detail"]
        assert "Loss is not finite." in problem["detail"]
        assert problem["hint"] == "Lower the rate. Retry 'train cluster 3': this job is then queued again."
    assert desk.names() == ["report"], "a report also tells what failed"

    with pytest.raises(Conflict, match="train cluster 3"):
        desk.do(states.retry, far)
    desk.do(states.retry, root)
    assert desk.status(root, near, far, report) == ["queued"] * 4
    assert desk.names() == ["train cluster 3", "generate", "evaluate", "report"]


def test_a_retry_leaves_cancelled_what_another_failed_job_still_blocks(desk: Desk) -> None:
    one, other = desk.submit("one"), desk.submit("other")
    both = desk.submit("both", one, other)
    for _ in range(2):
        desk.do(states.fail, desk.claim(), states.JobFailed("No."))
    desk.do(states.retry, one)
    problem = desk.job(both).problem
    assert problem
    assert (desk.status(both), problem["failed_job_id"]) == (["cancelled"], str(other))
    desk.do(states.retry, other)
    assert desk.names() == ["one", "other", "both"]


def test_a_job_that_is_added_while_its_need_fails_is_cancelled_by_the_caretaker(desk: Desk, settings: Settings) -> None:
    root = desk.submit("root")
    claim = desk.claim()
    with session_scope(desk.engine) as session:
        job = PlannedJob(uuid4(), JobKind.PROBE, "late", "cpu", ProbeSpec(), (root,))
        plan.submit(session, [job], pipeline_id=desk.pipeline_id)
        desk.do(states.fail, claim, states.JobFailed("No."))  # cannot see what is not committed yet
    assert desk.status(job.id) == ["queued"]
    Caretaker(settings, desk.engine).round()
    assert desk.status(job.id) == ["cancelled"]


def test_the_result_of_a_stale_claim_is_ignored(desk: Desk) -> None:
    job_id = desk.submit("slow")
    stale = desk.claim()
    assert desk.do(states.rescue_silent, -1.0) == [job_id]
    fresh = desk.claim()
    assert (stale.fence, fresh.fence) == (1, 2)
    with pytest.raises(states.Superseded):
        desk.finish(stale, outputs={"by": "stale"}, artifacts=[("a", "text/plain", "0" * 64, 1)])
    with pytest.raises(states.Superseded):
        desk.do(states.fail, stale, states.JobFailed("stale"))
    desk.finish(fresh, outputs={"by": "fresh"})
    with pytest.raises(states.Superseded):
        desk.finish(fresh, outputs={"by": "twice"})
    assert (desk.status(job_id), desk.job(job_id).outputs) == (["succeeded"], {"by": "fresh"})
    assert desk.do(lambda session: session.exec(select(Artifact)).all()) == []


def test_attempts_count_claims_without_a_slice_and_a_slice_forgives_them(desk: Desk) -> None:
    job_id = desk.submit("long")
    for slice_number in range(4):
        for attempt in range(2):
            _make_due(desk, job_id)
            desk.claim()
            desk.do(states.rescue_silent, -1.0)
            assert desk.job(job_id).attempts == attempt + 1
        _make_due(desk, job_id)
        claim = desk.claim()
        assert claim.slice_state == ({"images": slice_number} if slice_number else None)
        desk.do(states.write_outcome, claim, SliceDone({"images": slice_number + 1}))
        job = desk.job(job_id)
        assert (job.attempts, job.slice_number, job.status) == (0, slice_number + 1, "queued")
    for _ in range(3):
        _make_due(desk, job_id)
        desk.claim()
        desk.do(states.rescue_silent, -1.0)
    assert desk.status(job_id) == ["failed"]


def test_a_stopped_job_goes_where_people_asked(desk: Desk) -> None:
    asked = {"queued": None, "paused": states.pause, "cancelled": states.cancel}
    for status, request in asked.items():
        job_id = desk.submit(status, priority=-1)
        claim = desk.claim()
        if request:
            desk.do(request, job_id)
        desk.do(states.write_outcome, claim, Stopped({"step": 7}))
        job = desk.job(job_id)
        assert (job.status, job.slice_state, job.attempts) == (status, {"step": 7}, 0)
        assert not (job.cancel_requested or job.pause_requested)
        if status == "queued":
            desk.do(states.cancel, job_id)


def test_a_cancel_that_comes_before_the_end_wins(desk: Desk) -> None:
    job_id = desk.submit("nearly done")
    claim = desk.claim()
    desk.do(states.cancel, job_id)
    follow_up = FollowUp(Job(kind=JobKind.PROBE, queue="cpu", name="never"), needs=[job_id])
    desk.finish(claim, outputs={"a": 1}, follow_ups=[follow_up])
    assert (desk.status(job_id), desk.job(job_id).outputs) == (["cancelled"], {})
    assert desk.names() == []


def test_a_pipeline_is_held_resumed_and_cancelled_as_a_whole(desk: Desk) -> None:
    running, waiting = desk.submit("running"), desk.submit("waiting")
    claim = desk.claim()
    desk.do(states.pause_pipeline, desk.pipeline_id)
    assert desk.status(running, waiting) == ["running", "paused"]
    desk.finish(claim, follow_ups=[FollowUp(Job(kind=JobKind.PROBE, queue="cpu", name="added"), needs=[running])])
    assert desk.names() == [], "what a paused pipeline adds is held too"
    desk.do(states.resume_pipeline, desk.pipeline_id)
    assert desk.names() == ["waiting", "added"]
    last = [desk.submit("one"), desk.submit("two")]
    desk.do(states.cancel_pipeline, desk.pipeline_id)
    assert desk.status(running, waiting, *last) == ["succeeded", "succeeded", "cancelled", "cancelled"]


def test_requests_that_make_no_sense_are_refused_and_repeated_ones_are_not(desk: Desk) -> None:
    done = desk.submit("done")
    desk.finish(desk.claim())
    for request in (states.cancel, states.pause, states.resume, states.retry):
        with pytest.raises(Conflict):
            desk.do(request, done)
        with pytest.raises(NotFound):
            desk.do(request, uuid4())
    waiting = desk.submit("waiting")
    for request, status in (
        (states.pause, "paused"),
        (states.resume, "queued"),
        (states.cancel, "cancelled"),
        (states.retry, "queued"),
    ):
        desk.do(request, waiting)
        assert desk.status(waiting) == [status]
        if request is not states.retry:
            desk.do(request, waiting)
            assert desk.status(waiting) == [status]


def test_follow_ups_of_a_finished_job_hold_back_whoever_waits_for_it(desk: Desk) -> None:
    root = desk.submit("cluster")
    waiting = desk.submit("generate", root)
    train = [Job(kind=JobKind.PROBE, queue="cpu", name=f"train {number}") for number in range(3)]
    desk.finish(desk.claim(), follow_ups=[FollowUp(job, needs=[root], needed_by=[waiting]) for job in train])
    assert desk.names() == ["train 0", "train 1", "train 2", "generate"]
    assert {desk.job(job.id).pipeline_id for job in train} == {desk.pipeline_id}


def test_of_jobs_that_finish_together_exactly_one_is_the_last(desk: Desk) -> None:
    claims = [desk.submit(f"generate {number}") and desk.claim() for number in range(8)]
    start = threading.Barrier(8)
    lasts: list[UUID] = []

    def finish(claim: Claim) -> None:
        def note_if_last(session: Session) -> None:
            unfinished = select(func.count()).select_from(Job).where(col(Job.status) != JobStatus.SUCCEEDED)
            if session.exec(unfinished).one() == 0:
                lasts.append(claim.job_id)

        start.wait()
        desk.finish(claim, in_transaction=note_if_last)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(finish, claims))
    assert len(lasts) == 1


def test_a_failing_hook_takes_the_whole_outcome_with_it(desk: Desk) -> None:
    job_id = desk.submit("job")

    def refuse(session: Session) -> None:
        raise RuntimeError("no")

    claim = desk.claim()
    with pytest.raises(RuntimeError):
        desk.finish(claim, outputs={"a": 1}, in_transaction=refuse)
    assert (desk.status(job_id), desk.job(job_id).outputs) == (["running"], {})
    assert [event.data["status"] for event in _events_of(desk, job_id)] == ["queued", "running"]


def test_a_reader_of_events_misses_none_however_their_writers_interleave(desk: Desk) -> None:
    """Twelve writers at once; the reader always continues after the last id it saw, as a browser does."""
    jobs = [desk.submit(f"job {number}") for number in range(12)]
    writers_done = threading.Event()

    def write(job_id: UUID) -> None:
        for number in range(25):
            with session_scope(desk.engine) as session:
                job = session.exec(select(Job).where(col(Job.id) == job_id)).one()
                events.record(session, job, events.MESSAGE, {"number": number})
                session.exec(select(func.pg_sleep(0.002)))

    def follow() -> list[int]:
        seen: list[int] = []
        while True:
            last_round = writers_done.is_set()
            with session_scope(desk.engine) as session:
                after = seen[-1] if seen else 0
                page = events.read(session, pipeline_id=desk.pipeline_id, after_id=after, limit=7)
            seen += [event.id for event in page if event.id]
            if last_round and not page:
                return seen

    with ThreadPoolExecutor(13) as pool:
        reader = pool.submit(follow)
        list(pool.map(write, jobs))
        writers_done.set()
        seen = reader.result()
    stored = desk.do(lambda session: session.exec(select(Event.id).order_by(col(Event.id))).all())
    assert seen == list(stored)
    assert len(seen) == 12 * 25 + 12


def test_events_of_a_rolled_back_change_are_never_told(desk: Desk) -> None:
    job_id = desk.submit("job")
    with pytest.raises(RuntimeError), session_scope(desk.engine) as session:
        states.cancel(session, job_id)
        raise RuntimeError("the request failed after all")
    assert desk.status(job_id) == ["queued"]
    assert [event.data["status"] for event in _events_of(desk, job_id)] == ["queued"]


def test_a_caretaker_waits_for_beats_after_the_database_was_away(desk: Desk, settings: Settings) -> None:
    job_id = desk.submit("job")
    desk.claim()
    long_ago = func.now() - timedelta(hours=1)
    desk.do(lambda session: session.execute(update(Job).values(beat_at=long_ago)))
    patient = Caretaker(settings.model_copy(update={"beat_seconds": 3600.0}), desk.engine)
    patient.round()
    assert desk.status(job_id) == ["running"], "it has only just begun to look"
    Caretaker(settings.model_copy(update={"beat_seconds": 1e-9}), desk.engine).round()
    assert (desk.status(job_id), desk.job(job_id).attempts) == (["queued"], 1)


def test_the_caretaker_forgets_old_idempotency_keys_and_no_young_ones(desk: Desk, settings: Settings) -> None:
    def remember(session: Session) -> None:
        for key, hours in (("old", 49), ("young", 47)):
            record = IdempotencyRecord(api_key_id=uuid4(), key=key, request_digest="", status=202)
            session.add(record)
            session.flush()
            aged = update(IdempotencyRecord).where(col(IdempotencyRecord.key) == key)
            session.execute(aged.values(created_at=func.now() - timedelta(hours=hours)))

    desk.do(remember)
    Caretaker(settings, desk.engine).round()
    assert desk.do(lambda session: session.exec(select(IdempotencyRecord.key)).all()) == ["young"]


def test_the_caretaker_forgets_much_old_progress_in_several_rounds(
    desk: Desk, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "MOST_FORGOTTEN", 2)
    job_id = desk.submit("job")

    def age(session: Session) -> None:
        session.add_all(Event(job_id=job_id, kind=events.PROGRESS) for _ in range(3))
        session.flush()
        session.execute(update(Event).values(created_at=func.now() - timedelta(days=8)))

    def progress() -> int:
        return sum(event.kind == events.PROGRESS for event in _events_of(desk, job_id))

    desk.do(age)
    Caretaker(settings, desk.engine).round()
    assert progress() == 1
    Caretaker(settings, desk.engine).round()
    assert progress() == 0
    assert _events_of(desk, job_id), "its status is no progress"


def _make_due(desk: Desk, job_id: UUID) -> None:
    """Skip the pause that follows a second failed attempt."""
    desk.do(lambda session: session.execute(update(Job).where(col(Job.id) == job_id).values(not_before=None)))


def _events_of(desk: Desk, job_id: UUID) -> list[Event]:
    return list(desk.do(lambda session: events.read(session, job_id=job_id)))
