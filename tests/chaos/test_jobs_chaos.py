"""Things that end badly: processes killed, nodes lost, connections cut. No finished work is lost, none done twice."""

import os
import random
import signal
import time
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from segsmith_shared.database.tables import JobStatus
from segsmith_shared.embedded.folder import Secrets
from segsmith_shared.embedded.ports import free_port
from segsmith_shared.embedded.valkey import valkey_child, valkey_url
from segsmith_shared.jobs.probe import ProbeSpec
from tests.fixtures.engine_room import EngineRoom, is_alive, kill


def test_a_killed_workers_job_is_finished_by_another_from_its_last_slice(room: EngineRoom) -> None:
    room.caretaker()
    first = room.worker()
    (job_id,) = room.submit(ProbeSpec(slices=2, steps=30, seconds_per_step=0.05))
    child = room.until_probing(job_id, times=2)
    fork_server = _parent_of(child)
    assert _parent_of(fork_server) == first.pid
    kill(first)
    room.until(lambda: not is_alive(child) and not is_alive(fork_server), "the end of what the worker had started")
    room.worker()
    job = room.until_ended(job_id)
    assert (job.status, job.outputs["steps"], job.slice_number) == (JobStatus.SUCCEEDED, 60, 1)
    assert room.events(job_id, "message")[-1].data["step"] == 30, "the finished slice was not done again"


def test_a_killed_child_is_tried_again_and_its_worker_lives(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(ProbeSpec(steps=40, seconds_per_step=0.05))
    os.kill(shift.until_probing(job_id), signal.SIGKILL)
    job = shift.until_ended(job_id)
    assert (job.status, job.fence) == (JobStatus.SUCCEEDED, 2)
    told = [event.data for event in shift.events(job_id, "message") if "attempt" in event.data]
    assert "killed by signal 9 (out of memory?)" in told[0]["text"]


def test_a_poisonous_job_fails_after_three_attempts_and_harms_no_other(shift: EngineRoom) -> None:
    (poison,) = shift.submit(ProbeSpec(steps=3, crash_at=1))
    (dependant,) = shift.submit(ProbeSpec(), needs=[poison])
    (other,) = shift.submit(ProbeSpec())
    job = shift.until_ended(poison)
    assert (job.status, job.attempts, job.fence) == (JobStatus.FAILED, 3, 3)
    assert job.problem
    assert "killed by signal 9" in job.problem["detail"]
    waiting = shift.until_ended(dependant)
    assert waiting.problem
    assert (waiting.status, waiting.problem["failed_job_id"]) == (JobStatus.CANCELLED, str(poison))
    assert "killed by signal 9" in waiting.problem["detail"]
    assert shift.until_ended(other).status == JobStatus.SUCCEEDED


def test_a_long_job_survives_many_more_kills_than_attempts(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(ProbeSpec(slices=12, steps=10, seconds_per_step=0.05))
    chance = random.Random(3)
    for kills in range(6):
        _until_slice(shift, job_id, 1 + 2 * kills)
        begun = len([event for event in shift.events(job_id, "message") if event.data.get("text") == "probing"])
        child = shift.until_probing(job_id, begun + 1)
        time.sleep(chance.uniform(0, 0.2))  # where in the slice it strikes is the point, not a wait for anything
        if is_alive(child):
            os.kill(child, signal.SIGKILL)
    job = shift.until_ended(job_id)
    assert (job.status, job.outputs["steps"], job.slice_number) == (JobStatus.SUCCEEDED, 120, 11)
    assert len(set(job.outputs["processes"])) == 12, "every slice was finished once, by a process of its own"
    assert job.fence >= 12 + 4, "more kills struck than a job has attempts"


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


def test_a_killed_fork_server_takes_its_child_and_the_next_job_gets_a_new_one(shift: EngineRoom) -> None:
    (job_id,) = shift.submit(ProbeSpec(steps=40, seconds_per_step=0.05))
    child = shift.until_probing(job_id)
    fork_server = _parent_of(child)
    os.kill(fork_server, signal.SIGKILL)
    job = shift.until_ended(job_id)
    assert (job.status, job.fence) == (JobStatus.SUCCEEDED, 2)
    assert not is_alive(child)


def test_cut_database_connections_cost_no_job(shift: EngineRoom) -> None:
    jobs = shift.submit(*[ProbeSpec(steps=40, seconds_per_step=0.05)] * 3)
    for step in (5, 15, 25):
        shift.until_step(jobs[0], step)
        with shift.engine.connect() as connection:
            cut = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() ")
            connection.execute(text(f"{cut} AND datname = current_database()"))
    ended = [shift.until_ended(job_id) for job_id in jobs]
    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}


def test_a_worker_outlives_its_broker_and_hears_the_next_one(room: EngineRoom, tmp_path: Path) -> None:
    secrets = Secrets("", "", "word", "", "")
    port = free_port()
    (tmp_path / "logs").mkdir()
    broker = valkey_child(tmp_path, secrets, port, durable=False, keep_open=())
    room.environment["REDIS_URL"] = valkey_url(secrets, port)
    broker.start()
    worker = room.worker()
    (first,) = room.submit(ProbeSpec())
    room.until_ended(first)
    broker.stop(10)
    (second,) = room.submit(ProbeSpec())  # the request succeeds, its ring does not
    broker.start()
    room.caretaker()
    assert room.until_ended(second).status == JobStatus.SUCCEEDED
    assert worker.poll() is None
    broker.stop(10)


def _until_slice(room: EngineRoom, job_id: UUID, number: int) -> None:
    room.until(lambda: room.job(job_id).slice_number >= number, f"slice {number}")


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
