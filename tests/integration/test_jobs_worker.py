"""Real workers over real Postgres and Valkey: what a person who submits, cancels, pauses and retries would see."""

import itertools
import os
import signal
import time
from uuid import uuid4

import redis

from segsmith_shared.database.tables import JobKind, JobStatus
from segsmith_shared.jobs import states
from segsmith_shared.jobs.bell import ring
from segsmith_shared.jobs.probe import ProbeSpec
from segsmith_shared.plans.pipeline import PlannedJob
from tests.fixtures.engine_room import EngineRoom, flush_redis, is_alive

TOLD_WHILE_CELERY_SETS_UP = """
import os, signal
from celery.signals import celeryd_after_setup

@celeryd_after_setup.connect(weak=False)
def tell(**_):
    os.kill(os.getpid(), signal.SIGTERM)
"""
LONG = ProbeSpec(steps=100_000, seconds_per_step=0.05)


def test_a_submitted_job_is_run_and_tells_how_far_it_is_and_what_it_took(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(ProbeSpec(steps=5, seconds_per_step=0.01, allocate_bytes=64 * 2**20))
    job = shift.until_ended(job_id)
    assert (job.status, job.outputs["steps"]) == (JobStatus.SUCCEEDED, 5)
    assert (job.progress_done, job.progress_total, job.progress_unit) == (5, 5, "steps")
    assert job.peak_memory_bytes > 64 * 2**20
    assert job.started_at
    assert job.finished_at
    assert 0.05 <= job.run_seconds <= (job.finished_at - job.created_at).total_seconds()
    told = [event.data["status"] for event in shift.events(job_id, "status")]
    assert told == ["queued", "running", "succeeded"]


def test_jobs_run_in_the_order_of_their_needs(shift: EngineRoom) -> None:
    (first,) = shift.submit(ProbeSpec(steps=3, seconds_per_step=0.05))
    (second,) = shift.submit(ProbeSpec(), needs=[first])
    (third,) = shift.submit(ProbeSpec(), needs=[first, second])
    ended = [shift.until_ended(job_id) for job_id in (first, second, third)]
    assert [job.status for job in ended] == [JobStatus.SUCCEEDED] * 3
    for before, after in itertools.pairwise(ended):
        assert before.finished_at
        assert after.started_at
        assert before.finished_at <= after.started_at


def test_a_finishing_job_fans_out_and_whoever_waits_for_it_waits_for_the_fan_too(shift: EngineRoom) -> None:
    waiting = PlannedJob(uuid4(), JobKind.PROBE, "waiting", "cpu", ProbeSpec(), needs=(root_id := uuid4(),))
    spec = ProbeSpec(follow_ups=4, needed_by=[waiting.id])
    shift.submit_planned([PlannedJob(root_id, JobKind.PROBE, "root", "cpu", spec), waiting])
    end = shift.until_ended(waiting.id)
    jobs = shift.do(states.resume_pipeline, shift.job(root_id).pipeline_id)
    fan = [job for job in jobs if job.id not in (root_id, waiting.id)]
    assert len(fan) == 4
    assert {job.status for job in fan} == {JobStatus.SUCCEEDED}
    assert all(job.finished_at <= end.started_at for job in fan)


def test_two_workers_run_two_jobs_of_a_pipeline_at_the_same_time(shift: EngineRoom) -> None:
    jobs = shift.submit(LONG, LONG)
    pids = [shift.until_probing(job_id) for job_id in jobs]
    assert all(is_alive(pid) for pid in pids)
    shift.do(states.cancel_pipeline, shift.job(jobs[0]).pipeline_id)
    assert {shift.until_ended(job_id).status for job_id in jobs} == {JobStatus.CANCELLED}


def test_a_cancelled_job_stops_at_its_next_step_without_waiting_for_a_beat(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(LONG)
    pid = shift.until_probing(job_id)
    shift.until_step(job_id, 1)
    asked_at = time.monotonic()
    shift.do(states.cancel, job_id)
    job = shift.until_status(job_id, JobStatus.CANCELLED)
    assert time.monotonic() - asked_at < float(shift.environment["BEAT_SECONDS"]) / 2
    assert job.attempts == 0
    assert job.slice_state
    assert job.slice_state["step"] >= 1
    shift.until(lambda: not is_alive(pid), "the end of the process")


def test_a_job_that_does_not_listen_is_killed_and_cancelled(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(LONG.model_copy(update={"deaf": True}))
    pid = shift.until_probing(job_id)
    shift.do(states.cancel, job_id)
    assert shift.until_ended(job_id).status == JobStatus.CANCELLED
    assert not is_alive(pid)


def test_a_paused_job_goes_on_where_it_stopped(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(ProbeSpec(steps=100, seconds_per_step=0.05))
    shift.until_step(job_id, 2)
    shift.do(states.pause, job_id)
    paused = shift.until_status(job_id, JobStatus.PAUSED)
    assert paused.slice_state
    assert 2 <= paused.slice_state["step"] < 100
    shift.do(states.resume, job_id)
    shift.ring()
    done = shift.until_ended(job_id)
    assert (done.status, done.outputs["steps"], len(done.outputs["processes"])) == (JobStatus.SUCCEEDED, 100, 2)
    assert shift.events(job_id, "message")[1].data["step"] == paused.slice_state["step"]


def test_a_pause_taken_back_at_once_loses_nothing(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(ProbeSpec(steps=40, seconds_per_step=0.05))
    shift.until_step(job_id, 2)
    shift.do(states.pause, job_id)
    shift.do(states.resume, job_id)
    shift.ring()
    assert shift.until_ended(job_id).outputs["steps"] == 40


def test_input_at_fault_fails_at_once_and_says_what_to_do(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(ProbeSpec(steps=3, problem_at=1))
    job = shift.until_ended(job_id)
    assert (job.status, job.attempts, job.fence) == (JobStatus.FAILED, 1, 1)
    assert job.problem
    assert (job.problem["type"], job.problem["hint"]) == ("/problems/probe-refused", "Tell it otherwise.")


def test_an_unforeseen_error_is_tried_again_and_then_told(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(ProbeSpec(steps=3, fail_at=1))
    job = shift.until_ended(job_id)
    assert (job.status, job.attempts, job.fence) == (JobStatus.FAILED, 3, 3)
    assert job.problem
    assert job.problem["detail"] == "RuntimeError: step 1 was told to fail"


def test_a_kind_that_the_worker_does_not_know_fails_with_a_reason(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(ProbeSpec(), kind=JobKind.REPORT)
    job = shift.until_ended(job_id)
    assert job.problem
    assert "knows no step for kind 'report'" in job.problem["detail"]


def test_a_failed_job_and_who_waited_for_it_run_when_it_is_retried(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(ProbeSpec(steps=3, problem_at=1))
    (dependant,) = shift.submit(ProbeSpec(), needs=[job_id])
    shift.until_status(dependant, JobStatus.CANCELLED)
    shift.change_spec(job_id, ProbeSpec(steps=3))
    shift.do(states.retry, job_id)
    shift.ring()
    assert shift.until_ended(job_id).status == JobStatus.SUCCEEDED
    assert shift.until_ended(dependant).status == JobStatus.SUCCEEDED


def test_flushing_redis_loses_nothing(shift: EngineRoom) -> None:
    jobs = shift.submit(*[ProbeSpec(steps=2, seconds_per_step=0.05)] * 6)
    flush_redis(shift.environment)
    (later,) = shift.submit(ProbeSpec())
    flush_redis(shift.environment)  # takes the ring, or the ring has woken a worker already: both are well
    assert {shift.until_ended(job_id).status for job_id in [*jobs, later]} == {JobStatus.SUCCEEDED}


def test_a_worker_told_to_end_checkpoints_and_releases_its_job(room: EngineRoom) -> None:
    """Without a broker, so that it also shows that what waits at the start needs none."""
    worker = room.worker(REDIS_URL="redis://127.0.0.1:1/0")
    (job_id,) = room.submit(LONG)
    child = room.until_probing(job_id)
    room.until_step(job_id, 1)
    os.kill(child, signal.SIGTERM)  # systemd, and docker's init, signal every process of a service
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0, room.logs()
    job = room.job(job_id)
    assert (job.status, job.attempts) == (JobStatus.QUEUED, 0)
    assert job.slice_state
    assert job.slice_state["step"] >= 1
    assert not is_alive(child)


def test_an_idle_worker_ends_at_once_whether_redis_answers_or_not(room: EngineRoom) -> None:
    """That the others of this file listen at all is what every other test shows."""
    (first,) = room.submit(ProbeSpec())
    searching = room.worker(REDIS_URL="redis://127.0.0.1:1/0")
    room.until_ended(first)
    searching.send_signal(signal.SIGTERM)
    assert searching.wait(60) == 0, room.logs()


def test_a_worker_told_to_end_before_it_listens_ends_although_redis_is_away(room: EngineRoom) -> None:
    deaf = room.worker(first=TOLD_WHILE_CELERY_SETS_UP, REDIS_URL="redis://127.0.0.1:1/0")
    assert deaf.wait(60) == 0, room.logs()


def test_rings_do_not_pile_up_where_nobody_listens(environment: dict[str, str]) -> None:
    for _ in range(5):
        assert ring("cpu", times=3)
    with redis.Redis.from_url(environment["REDIS_URL"]) as broker:
        assert broker.llen("segsmith.cpu") == 3


def test_a_broker_that_is_away_costs_the_ring_and_not_the_request() -> None:
    assert not ring("cpu", redis_url="redis://127.0.0.1:1/0")
    began = time.monotonic()  # the first ring of a process also imports the transport
    assert not ring("cpu", redis_url="redis://127.0.0.1:1/0")
    assert time.monotonic() - began < 2
