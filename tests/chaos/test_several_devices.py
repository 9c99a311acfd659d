"""One training by several processes, as a job: it ends as any other does, and nothing of it stays behind."""

from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from segsmith_shared.database.tables import JobStatus
from segsmith_shared.jobs import states
from segsmith_shared.settings import Settings
from segsmith_shared.storage.objects import ObjectStore
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.engine_room import EngineRoom, kill
from tests.fixtures.trainings import submit_training, tiny_preset, trained_state

WORKER = "tests.fixtures.diffusion_worker"


def processes_of(session_id: int) -> set[int]:
    """Everything alive that a worker, or whatever it started, has started."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, *numbers = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(numbers[2]) == session_id and state != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.mark.timeout(900)
def test_a_training_on_two_devices_ends_with_the_loss_of_one_and_cancel_or_kill_leaves_no_process(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    version_id = drawn_version(engine, object_store, 12)
    worker = room.service(WORKER, TRAINING_DEVICES="2")
    short = tiny_preset(images_total=48, precision="float32")
    by_two = submit_training(room, version_id, short)
    assert room.until_ended(by_two, timeout_seconds=300).status == JobStatus.SUCCEEDED, room.logs()
    room.until(lambda: len(processes_of(worker.pid)) <= 3, "the end of the team")  # worker, fork server, its tracker
    endless = submit_training(room, version_id, tiny_preset(images_total=400_000))
    room.until_step(endless, 8)
    assert len(processes_of(worker.pid)) >= 5  # with a job, the server of its own, and the second process
    room.do(states.cancel, endless)
    assert room.until_ended(endless, timeout_seconds=60).status == JobStatus.CANCELLED, room.logs()
    room.until(lambda: len(processes_of(worker.pid)) <= 3, "the end of what was cancelled")
    submit_training(room, version_id, tiny_preset(images_total=400_000))
    room.until(lambda: len(processes_of(worker.pid)) >= 5, "another team")
    kill(worker)
    room.until(lambda: not processes_of(worker.pid), "the end of everything the worker had started", 30)
    by_one = submit_training(room, version_id, short)
    with_one = room.service(WORKER)
    assert room.until_ended(by_one, timeout_seconds=300).status == JobStatus.SUCCEEDED, room.logs()
    assert with_one.poll() is None
    losses = [room.job(job_id).outputs["final_loss"] for job_id in (by_one, by_two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    with Session(engine) as session:
        assert trained_state(session, object_store, by_two)["progress"].tolist()[:2] == [12, 48]


@pytest.mark.parametrize("wrong", ["0", "-1", "many", "65"])
def test_a_number_of_devices_that_cannot_be_is_refused_at_the_start(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("TRAINING_DEVICES", wrong)
    with pytest.raises(ValueError, match="training_devices"):
        Settings()
    monkeypatch.setenv("TRAINING_DEVICES", "all")
    monkeypatch.setenv("TORCH_COMPILE", "perhaps")
    with pytest.raises(ValueError, match="torch_compile"):
        Settings()
