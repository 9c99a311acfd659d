"""A real worker over real Postgres and Valkey: what a person who submits, cancels, pauses and retries would see."""

import signal

import pytest

from segsmith_shared.database.tables import JobStatus
from segsmith_shared.jobs import states
from segsmith_shared.jobs.bell import ring
from segsmith_shared.jobs.probe import ProbeSpec
from tests.fixtures.engine_room import EngineRoom, flush_redis, is_alive


def test_a_submitted_job_is_run_by_a_listening_worker(room: EngineRoom) -> None:
    room.worker()
    (first,) = room.submit(ProbeSpec(steps=3))
    assert room.until_ended(first).outputs["steps"] == 3
    (second,) = room.submit(ProbeSpec(steps=5, allocate_bytes=64 * 2**20))
    job = room.until_ended(second)
    assert (job.status, job.outputs["steps"]) == (JobStatus.SUCCEEDED, 5)
    assert (job.progress_done, job.progress_total, job.progress_unit) == (5, 5, "steps")
    assert job.peak_memory_bytes > 64 * 2**20
    assert 0 < job.run_seconds <= (job.finished_at - job.created_at).total_seconds()
