"""A device that holds fewer pictures than asked for: jobs end well, and a person can read why they took long."""

import pytest
from sqlalchemy import Engine

from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import JobStatus
from segsmith_shared.storage.objects import ObjectStore
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.engine_room import EngineRoom
from tests.fixtures.generations import samples_of, submit_generation
from tests.fixtures.tight_worker import MOST
from tests.fixtures.trainings import submit_training, tiny_preset, trained_state


@pytest.mark.timeout(600)
def test_jobs_go_on_with_fewer_pictures_at_once_say_so_once_and_remember_it(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    version_id = drawn_version(engine, object_store, 6)
    preset = tiny_preset(images_total=400)
    training = submit_training(room, version_id, preset, slice_seconds=0.2)
    room.service("tests.fixtures.tight_worker")
    assert room.until_ended(training, timeout_seconds=300).status == JobStatus.SUCCEEDED, room.logs()
    assert room.job(training).slice_number > 1
    (told,) = room.events(training, "message")
    assert "4 images at once: 2 from now on" in told.data["text"]
    with session_scope(engine) as session:
        assert trained_state(session, object_store, training)["progress"].tolist() == [100, 400, MOST]
    generation, (job_id,) = submit_generation(room, training, version_id, preset, shares=1)
    assert room.until_ended(job_id, timeout_seconds=200).status == JobStatus.SUCCEEDED, room.logs()
    (told,) = room.events(job_id, "message")
    assert "4 sources at once: 2 from now on" in told.data["text"]
    samples = samples_of(room, generation)
    assert len(samples) == 6
    assert {sample.provenance["sampling"]["batch"] for sample in samples.values()} == {MOST}
