"""Real workers and a caretaker, watched as an orchestrator watches them; and workers that end when all is done."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from segsmith_shared.database.tables import JobStatus
from segsmith_shared.jobs.health import Question, complaints
from segsmith_shared.jobs.probe import ProbeSpec
from tests.fixtures.engine_room import EngineRoom, flush_redis, kill

NOWHERE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
NO_DATABASE = {"DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none"}
LONG = ProbeSpec(steps=100_000, seconds_per_step=0.05)
AN_HOUR = 3600.0


@pytest.fixture
def file(tmp_path: Path, room: EngineRoom) -> Path:
    """Where the processes of `room` say how they are."""
    file = tmp_path / "health.json"
    room.environment["HEALTH_FILE"] = str(file)
    return file


def bad(file: Path, question: Question, in_seconds: float = 0.0) -> set[str]:
    """The parts that would be complained of in so many seconds if none of them moved until then."""
    return {complaint.split(":")[0] for complaint in complaints(file, question, time.monotonic() + in_seconds)}


def listening(file: Path) -> bool:
    """Whether the worker runs no job now and waits for a ring: from then on, silence is a bad sign."""
    return not bad(file, "ready") and "bell" in bad(file, "ready", AN_HOUR)


def test_an_idle_worker_is_ready_and_would_not_be_if_it_froze(room: EngineRoom, file: Path) -> None:
    worker = room.worker()
    room.until(lambda: listening(file), "a worker that listens")
    assert not bad(file, "ready") | bad(file, "live")
    worker.send_signal(signal.SIGSTOP)
    try:
        assert bad(file, "ready", AN_HOUR) == {"database", "bell"}
        assert bad(file, "live", AN_HOUR) == {"heart", "bell"}
    finally:
        worker.send_signal(signal.SIGCONT)


def test_a_worker_that_has_run_a_job_for_an_hour_is_not_thought_deaf(room: EngineRoom, file: Path) -> None:
    room.worker()
    (job_id,) = room.submit(LONG)
    room.until_step(job_id, 1)
    assert "bell" not in bad(file, "ready", AN_HOUR) | bad(file, "live", AN_HOUR)
    room.cancel_all()
    room.until(lambda: listening(file), "a worker that listens again")


def test_a_worker_that_lost_its_broker_for_a_moment_says_that_it_hears_again(room: EngineRoom, file: Path) -> None:
    room.worker()
    room.until(lambda: listening(file), "a worker that listens")
    before = file.stat().st_mtime_ns
    flush_redis(room.environment)
    (job_id,) = room.submit(ProbeSpec())
    assert room.until_ended(job_id).status == JobStatus.SUCCEEDED
    room.until(lambda: file.stat().st_mtime_ns > before and listening(file), "a worker that listens again")
    assert not bad(file, "ready")


def test_without_redis_a_worker_is_unready_in_a_minute_and_started_again_only_after_ten(
    room: EngineRoom, file: Path
) -> None:
    room.worker(**NOWHERE)
    room.until(
        lambda: "bell" in bad(file, "ready", 60) and "database" not in bad(file, "ready"),
        "a worker that found its database and looks for its broker",
    )
    assert not bad(file, "live", 60)
    assert "bell" in bad(file, "live", AN_HOUR)


def test_without_its_database_a_worker_is_not_ready_and_not_started_again_for_it(room: EngineRoom, file: Path) -> None:
    room.worker(**NO_DATABASE)
    room.until(lambda: file.exists() and "heart" not in bad(file, "ready"), "a worker whose heart goes round")
    room.until(lambda: "bell" not in bad(file, "ready"), "a worker that looked for work")
    assert bad(file, "ready") == {"database"}
    assert not bad(file, "live")


def test_a_killed_worker_is_gone_at_once(room: EngineRoom, file: Path) -> None:
    worker = room.worker()
    room.until(lambda: not bad(file, "ready"), "a ready worker")
    kill(worker)
    (complaint,) = complaints(file, "live", time.monotonic())
    assert complaint.endswith("is gone")


def test_a_caretaker_is_ready_while_it_makes_rounds(room: EngineRoom, file: Path) -> None:
    room.caretaker()
    room.until(lambda: not bad(file, "ready"), "a ready caretaker")
    assert bad(file, "ready", AN_HOUR) == {"database"}
    assert bad(file, "live", AN_HOUR) == {"rounds"}


def test_a_worker_until_empty_does_what_waits_and_ends_well(room: EngineRoom) -> None:
    (first,) = room.submit(ProbeSpec(slices=2, steps=2))
    (second,) = room.submit(ProbeSpec(), needs=[first])
    worker = room.worker(WORKER_UNTIL_EMPTY="true", **NOWHERE)
    assert ended(worker, room) == 0
    assert [room.job(job_id).status for job_id in (first, second)] == [JobStatus.SUCCEEDED] * 2


def test_a_worker_until_empty_that_cannot_look_says_that_it_could_not(room: EngineRoom) -> None:
    assert ended(room.worker(WORKER_UNTIL_EMPTY="true", **NO_DATABASE), room) == 1


def test_a_worker_until_empty_told_to_end_releases_its_job_and_ends_well(room: EngineRoom) -> None:
    (job_id,) = room.submit(LONG)
    worker = room.worker(WORKER_UNTIL_EMPTY="true")
    room.until_step(job_id, 1)
    worker.send_signal(signal.SIGTERM)
    assert ended(worker, room) == 0
    assert (room.job(job_id).status, room.job(job_id).attempts) == (JobStatus.QUEUED, 0)


def ended(worker: subprocess.Popen[bytes], room: EngineRoom) -> int:
    """The exit code, within a minute."""
    try:
        return worker.wait(60)
    except subprocess.TimeoutExpired:
        raise AssertionError(room.logs()) from None
