"""Twenty kills at random steps change nothing about a training."""

import pytest
from sqlalchemy import Engine

from segsmith_shared.database.session import session_scope
from segsmith_shared.storage.objects import ObjectStore
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.engine_room import EngineRoom
from tests.fixtures.killing import kill_while_training
from tests.fixtures.trainings import assert_equal_states, submit_training, tiny_preset, trained_state


@pytest.mark.timeout(1200)
def test_a_training_killed_at_twenty_random_steps_ends_with_the_uncut_runs_weights(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    version_id = drawn_version(engine, object_store, 12)
    preset = tiny_preset(images_total=4000)
    cut = submit_training(room, version_id, preset, slice_seconds=0.2)
    room.caretaker()
    assert kill_while_training(room, cut, preset.training.images_total, kills=20, seed=3) == 20
    uncut = submit_training(room, version_id, preset, slice_seconds=3600)
    room.until_ended(uncut, timeout_seconds=300)
    with session_scope(engine) as session:
        states_of_both = [trained_state(session, object_store, job_id) for job_id in (cut, uncut)]
    assert_equal_states(*states_of_both)
