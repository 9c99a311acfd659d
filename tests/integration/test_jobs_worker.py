"""A real worker over real Postgres and Valkey: what a person who submits, cancels, pauses and retries would see."""

import itertools
import os
import signal
import time

from tests.fixtures.engine_room import EngineRoom, flush_redis, is_alive

from segsmith_shared.database.tables import JobStatus
from segsmith_shared.jobs import states
from segsmith_shared.jobs.bell import ring
from segsmith_shared.jobs.probe import ProbeSpec

LONG = ProbeSpec(steps=100_000, seconds_per_step=0.05)


def test_a_submitted_job_is_run_by_a_listening_worker(room: EngineRoom) -> None:
    room.worker()
    (first,) = room.submit(ProbeSpec(steps=3))
    assert room.until_ended(first).outputs["steps"] == 3
    (second,) = room.submit(ProbeSpec(steps=5, allocate_bytes=64 * 2**20))
    job = room.until_ended(second)
    assert (job.status, job.outputs["steps"]) == (JobStatus.SUCCEEDED, 5)
    assert (job.progress_done, job.progress_total, job.progress_unit) == (5, 5, "steps")
    assert job.peak_memory_bytes > 64 * 2**20
    assert job.started_at and job.finished_at
    assert 0 < job.run_seconds <= (job.finished_at - job.created_at).total_seconds()


def test_a_worker_takes_what_waited_before_it_started_even_without_redis(room: EngineRoom) -> None:
    (waiting,) = room.submit(ProbeSpec())
    room.worker(REDIS_URL="redis://127.0.0.1:1/0")
    assert room.until_ended(waiting).status == JobStatus.SUCCEEDED


def test_jobs_run_in_the_order_of_their_needs(room: EngineRoom) -> None:
    (first,) = room.submit(ProbeSpec(steps=3, seconds_per_step=0.05))
    (second,) = room.submit(ProbeSpec(), needs=[first])
    (third,) = room.submit(ProbeSpec(), needs=[first, second])
    room.worker()
    room.worker()
    ended = [room.until_ended(job_id) for job_id in (first, second, third)]
    assert [job.status for job in ended] == [JobStatus.SUCCEEDED] * 3
    for before, after in itertools.pairwise(ended):
        assert before.finished_at and after.started_at and before.finished_at <= after.started_at


def test_a_finishing_job_fans_out_and_whoever_waits_for_it_waits_for_the_fan_too(room: EngineRoom) -> None:
    root, last = ProbeSpec(follow_ups=4), ProbeSpec()
    (first,) = room.submit(root)
    (waiting,) = room.submit(last, needs=[first])
    with_fan = ProbeSpec(follow_ups=4, needed_by=[waiting])
    room.do(lambda session: setattr(session.merge(room.job(first)), "spec", with_fan.model_dump(mode="json")))
    room.worker()
    end = room.until_ended(waiting)
    fan = [job for job in room.do(states.resume_pipeline, room.job(first).pipeline_id) if job.id != first]
    assert len(fan) == 4
    assert {job.status for job in fan} == {JobStatus.SUCCEEDED}
    assert end.started_at
    assert all(job.finished_at <= end.started_at for job in fan)


def test_a_cancelled_job_stops_within_one_step(room: EngineRoom) -> None:
    room.worker(BEAT_SECONDS="30", SILENT_SECONDS="90")  # the request must not have to wait for a beat
    (job_id,) = room.submit(LONG)
    pid = room.until_probing(job_id)
    room.until_step(job_id, 1)
    asked_at = time.monotonic()
    room.do(states.cancel, job_id)
    job = room.until_status(job_id, JobStatus.CANCELLED)
    assert time.monotonic() - asked_at < 5
    assert job.attempts == 0
    assert job.slice_state and job.slice_state["step"] >= 1
    room.until(lambda: not is_alive(pid), "the end of the process")


def test_a_job_that_does_not_listen_is_killed_and_cancelled(room: EngineRoom) -> None:
    room.worker(STOP_GRACE_SECONDS="0.5")
    (job_id,) = room.submit(LONG.model_copy(update={"deaf": True}))
    pid = room.until_probing(job_id)
    room.do(states.cancel, job_id)
    assert room.until_ended(job_id).status == JobStatus.CANCELLED
    assert not is_alive(pid)


def test_a_paused_job_goes_on_where_it_stopped(room: EngineRoom) -> None:
    room.worker()
    (job_id,) = room.submit(ProbeSpec(steps=60, seconds_per_step=0.05))
    room.until_step(job_id, 2)
    room.do(states.pause, job_id)
    paused = room.until_status(job_id, JobStatus.PAUSED)
    assert paused.slice_state and 2 <= paused.slice_state["step"] < 60
    room.do(states.resume, job_id)
    ring("cpu")
    done = room.until_ended(job_id)
    assert (done.status, done.outputs["steps"], len(done.outputs["processes"])) == (JobStatus.SUCCEEDED, 60, 2)
    resumed = room.events(job_id, "message")[1].data
    assert resumed["step"] == paused.slice_state["step"]


def test_a_pause_taken_back_in_time_costs_nothing_but_a_claim(room: EngineRoom) -> None:
    room.worker()
    (job_id,) = room.submit(ProbeSpec(steps=40, seconds_per_step=0.05))
    room.until_step(job_id, 2)
    room.do(states.pause, job_id)
    room.do(states.resume, job_id)
    ring("cpu")
    assert room.until_ended(job_id).outputs["steps"] == 40


def test_input_at_fault_fails_at_once_and_says_what_to_do(room: EngineRoom) -> None:
    room.worker()
    (job_id,) = room.submit(ProbeSpec(steps=3, problem_at=1))
    job = room.until_ended(job_id)
    assert (job.status, job.attempts, job.fence) == (JobStatus.FAILED, 1, 1)
    assert job.problem
    assert (job.problem["type"], job.problem["hint"]) == ("/problems/probe-refused", "Tell it otherwise.")


def test_an_unforeseen_error_is_tried_again_and_then_told(room: EngineRoom) -> None:
    room.worker()
    room.caretaker()
    (job_id,) = room.submit(ProbeSpec(steps=3, fail_at=1))
    job = room.until_ended(job_id)
    assert (job.status, job.attempts, job.fence) == (JobStatus.FAILED, 3, 3)
    assert job.problem
    assert job.problem["detail"] == "RuntimeError: step 1 was told to fail"


def test_a_kind_that_the_worker_does_not_know_fails_with_a_reason(room: EngineRoom) -> None:
    (job_id,) = room.submit(ProbeSpec())
    room.do(lambda session: setattr(session.merge(room.job(job_id)), "kind", "report"))
    room.worker()
    job = room.until_ended(job_id)
    assert job.problem
    assert "knows no step for kind 'report'" in job.problem["detail"]


def test_a_failed_job_runs_again_when_it_is_retried(room: EngineRoom) -> None:
    room.worker()
    (job_id,) = room.submit(ProbeSpec(steps=3, problem_at=1))
    (dependant,) = room.submit(ProbeSpec(), needs=[job_id])
    room.until_status(dependant, JobStatus.CANCELLED)
    mended = ProbeSpec(steps=3).model_dump(mode="json")
    room.do(lambda session: setattr(session.merge(room.job(job_id)), "spec", mended))
    room.do(states.retry, job_id)
    ring("cpu")
    assert room.until_ended(job_id).status == JobStatus.SUCCEEDED
    assert room.until_ended(dependant).status == JobStatus.SUCCEEDED


def test_a_worker_told_to_end_checkpoints_releases_its_job_and_exits_clean(room: EngineRoom) -> None:
    worker = room.worker()
    (job_id,) = room.submit(LONG)
    pid = room.until_probing(job_id)
    room.until_step(job_id, 1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0, room.logs()
    job = room.job(job_id)
    assert (job.status, job.attempts) == (JobStatus.QUEUED, 0)
    assert job.slice_state and job.slice_state["step"] >= 1
    assert not is_alive(pid)


def test_an_idle_worker_ends_at_once_also_without_redis(room: EngineRoom) -> None:
    listening, searching = room.worker(), room.worker(REDIS_URL="redis://127.0.0.1:1/0")
    (job_id,) = room.submit(ProbeSpec())
    room.until_ended(job_id)
    for worker in (listening, searching):
        worker.send_signal(signal.SIGTERM)
    assert [worker.wait(20) for worker in (listening, searching)] == [0, 0], room.logs()


def test_a_signal_to_the_whole_group_stops_the_job_as_gently(room: EngineRoom) -> None:
    worker = room.worker()
    (job_id,) = room.submit(LONG)
    child = room.until_probing(job_id)
    room.until_step(job_id, 1)
    os.kill(child, signal.SIGTERM)  # what systemd and docker's init do to every process of a service
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0, room.logs()
    job = room.job(job_id)
    assert (job.status, job.attempts) == (JobStatus.QUEUED, 0)
    assert job.slice_state and job.slice_state["step"] >= 1


def test_flushing_redis_loses_nothing(room: EngineRoom, environment: dict[str, str]) -> None:
    room.worker()
    room.caretaker()
    (warm,) = room.submit(ProbeSpec())
    room.until_ended(warm)
    jobs = room.submit(*[ProbeSpec(steps=2, seconds_per_step=0.05)] * 10)
    flush_redis(environment)
    assert {room.until_ended(job_id).status for job_id in jobs} == {JobStatus.SUCCEEDED}
    flush_redis(environment)
    (later,) = room.submit(ProbeSpec())
    assert room.until_ended(later).status == JobStatus.SUCCEEDED


def test_a_ring_that_never_came_is_made_good_by_the_caretaker(room: EngineRoom, environment: dict[str, str]) -> None:
    room.worker()
    (warm,) = room.submit(ProbeSpec())
    room.until_ended(warm)
    (silent,) = room.submit(ProbeSpec())
    flush_redis(environment)
    room.caretaker()
    assert room.until_ended(silent).status == JobStatus.SUCCEEDED


def test_rings_do_not_pile_up_where_nobody_listens(environment: dict[str, str]) -> None:
    import redis

    for _ in range(5):
        assert ring("cpu", times=3)
    with redis.Redis.from_url(environment["REDIS_URL"]) as broker:
        assert broker.llen("segsmith.cpu") == 3


def test_a_broker_that_is_away_costs_the_ring_and_not_the_request() -> None:
    assert not ring("cpu", redis_url="redis://127.0.0.1:1/0")
