"""Things that end badly: processes killed, nodes lost, connections cut. No finished work is lost, none done twice."""

import os
import random
import signal
import time

import pytest
from sqlalchemy import text
from tests.fixtures.engine_room import EngineRoom, is_alive, kill

from segsmith_shared.database.tables import JobStatus
from segsmith_shared.jobs import states
from segsmith_shared.jobs.probe import ProbeSpec


def test_a_killed_workers_job_is_finished_by_another_from_its_last_slice(room: EngineRoom) -> None:
    room.caretaker()
    first = room.worker()
    (job_id,) = room.submit(ProbeSpec(slices=2, steps=30, seconds_per_step=0.05))
    child = room.until_probing(job_id, times=2)
    kill(first)
    room.until(lambda: not is_alive(child), "the end of the lost worker's child")
    room.worker()
    job = room.until_ended(job_id)
    assert (job.status, job.outputs["steps"], job.slice_number) == (JobStatus.SUCCEEDED, 60, 1)
    assert room.events(job_id, "message")[-1].data["step"] == 30, "the finished slice was not done again"


def test_a_killed_child_is_tried_again_and_its_worker_lives(room: EngineRoom) -> None:
    worker = room.worker()
    (job_id,) = room.submit(ProbeSpec(steps=40, seconds_per_step=0.05))
    os.kill(room.until_probing(job_id), signal.SIGKILL)
    job = room.until_ended(job_id)
    assert (job.status, job.fence) == (JobStatus.SUCCEEDED, 2)
    told = [event.data for event in room.events(job_id, "message") if "attempt" in event.data]
    assert "killed by signal 9 (out of memory?)" in told[0]["text"]
    assert worker.poll() is None


def test_a_poisonous_job_fails_after_three_attempts_and_harms_no_other(room: EngineRoom) -> None:
    worker = room.worker()
    room.caretaker()
    (poison,) = room.submit(ProbeSpec(steps=3, crash_at=1))
    (dependant,) = room.submit(ProbeSpec(), needs=[poison])
    (other,) = room.submit(ProbeSpec())
    job = room.until_ended(poison)
    assert (job.status, job.attempts, job.fence) == (JobStatus.FAILED, 3, 3)
    assert job.problem
    assert "killed by signal 9" in job.problem["detail"]
    waiting = room.until_ended(dependant)
    assert waiting.problem
    assert (waiting.status, waiting.problem["failed_job_id"]) == (JobStatus.CANCELLED, str(poison))
    assert "killed by signal 9" in waiting.problem["detail"]
    assert room.until_ended(other).status == JobStatus.SUCCEEDED
    assert worker.poll() is None


def test_a_long_job_survives_many_more_kills_than_attempts(room: EngineRoom) -> None:
    worker = room.worker()
    room.caretaker()
    (job_id,) = room.submit(ProbeSpec(slices=12, steps=6, seconds_per_step=0.05))
    chance = random.Random(3)
    for killed in range(1, 7):
        room.until(lambda n=killed: room.job(job_id).slice_number >= 2 * n - 1, f"slice {2 * killed - 1}")
        begun = len([event for event in room.events(job_id, "message") if event.data.get("text") == "probing"])
        child = room.until_probing(job_id, begun + 1)
        time.sleep(chance.uniform(0, 0.2))  # where in the slice it strikes is the point, not a wait for anything
        if is_alive(child):
            os.kill(child, signal.SIGKILL)
    job = room.until_ended(job_id)
    assert (job.status, job.outputs["steps"], job.slice_number) == (JobStatus.SUCCEEDED, 72, 11)
    assert len(set(job.outputs["processes"])) == 12, "every slice was finished once, by a process of its own"
    assert worker.poll() is None


def test_two_workers_run_two_jobs_at_the_same_time(room: EngineRoom) -> None:
    room.worker()
    room.worker()
    jobs = room.submit(*[ProbeSpec(steps=100_000, seconds_per_step=0.05)] * 2)
    pids = [room.until_probing(job_id) for job_id in jobs]
    assert all(is_alive(pid) for pid in pids)
    for job_id in jobs:
        room.do(states.cancel, job_id)
    assert {room.until_ended(job_id).status for job_id in jobs} == {JobStatus.CANCELLED}


def test_a_silent_worker_that_comes_back_finds_its_job_taken_and_ends_its_child(room: EngineRoom) -> None:
    room.caretaker()
    frozen = room.worker()
    (job_id,) = room.submit(ProbeSpec(steps=100, seconds_per_step=0.1, deaf=True))
    child = room.until_probing(job_id)
    frozen.send_signal(signal.SIGSTOP)  # a machine that swaps, or a network that is cut
    room.until(lambda: room.job(job_id).fence > 1 or room.job(job_id).status == JobStatus.QUEUED, "the rescue")
    room.worker()
    room.until_probing(job_id, times=2)
    frozen.send_signal(signal.SIGCONT)
    room.until(lambda: not is_alive(child), "the end of the stale child")
    job = room.until_ended(job_id)
    assert (job.status, job.fence, len(job.outputs["processes"])) == (JobStatus.SUCCEEDED, 2, 1)
    assert job.outputs["processes"] != [child]
    assert frozen.poll() is None, "it goes on serving"


def test_a_killed_fork_server_takes_its_child_and_the_next_job_gets_a_new_one(room: EngineRoom) -> None:
    worker = room.worker()
    (job_id,) = room.submit(ProbeSpec(steps=40, seconds_per_step=0.05))
    child = room.until_probing(job_id)
    fork_server = _parent_of(child)
    assert _parent_of(fork_server) == worker.pid
    os.kill(fork_server, signal.SIGKILL)
    job = room.until_ended(job_id)
    assert (job.status, job.fence) == (JobStatus.SUCCEEDED, 2)
    assert not is_alive(child)


def test_cut_database_connections_cost_no_job(room: EngineRoom) -> None:
    room.worker()
    room.caretaker()
    jobs = room.submit(*[ProbeSpec(steps=40, seconds_per_step=0.05)] * 3)
    for step in (5, 15, 25):
        room.until_step(jobs[0], step)
        with room.engine.connect() as connection:
            cut = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() ")
            connection.execute(text(f"{cut} AND datname = current_database()"))
    ended = [room.until_ended(job_id) for job_id in jobs]
    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}


@pytest.mark.parametrize("lost", ["worker", "child"])
def test_nothing_is_left_running_after_a_loss(room: EngineRoom, lost: str) -> None:
    worker = room.worker()
    (job_id,) = room.submit(ProbeSpec(steps=100_000, seconds_per_step=0.05))
    child = room.until_probing(job_id)
    fork_server = _parent_of(child)
    room.do(states.pause, job_id)
    if lost == "worker":
        kill(worker)
    else:
        worker.terminate()
        worker.wait(20)
    room.until(lambda: not is_alive(child) and not is_alive(fork_server), "the end of child and fork server")


def _parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - one number out of the kernel's own file
        return int(stat.read().rpartition(")")[2].split()[1])
