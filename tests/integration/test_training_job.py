"""Trainings as jobs: cut anywhere they end alike, and workers share them."""

import pytest
from sqlalchemy import Engine

from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import JobStatus
from segsmith_shared.jobs import states
from segsmith_shared.storage.objects import ObjectStore
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.engine_room import EngineRoom
from tests.fixtures.killing import kill_while_training
from tests.fixtures.trainings import assert_equal_states, submit_training, tiny_preset, trained_state

SLICE_SECONDS = 0.2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_training_killed_at_random_steps_ends_with_the_uncut_runs_weights(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    version_id = drawn_version(engine, object_store, 12)
    preset = tiny_preset()
    cut = submit_training(room, version_id, preset, slice_seconds=SLICE_SECONDS)
    room.caretaker()
    assert kill_while_training(room, cut, preset.training.images_total, kills=3, seed=1) >= 2
    uncut = submit_training(room, version_id, preset, slice_seconds=3600)
    assert room.until_ended(uncut, timeout_seconds=120).status == JobStatus.SUCCEEDED, room.logs()
    assert room.job(cut).slice_number > room.job(uncut).slice_number
    with session_scope(engine) as session:
        states_of_both = [trained_state(session, object_store, job_id) for job_id in (cut, uncut)]
    assert_equal_states(*states_of_both)


@pytest.mark.timeout(300)
def test_a_paused_training_keeps_its_checkpoint_and_goes_on(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    preset = tiny_preset(images_total=4000)
    job_id = submit_training(room, drawn_version(engine, object_store, 12), preset)
    room.service("tests.fixtures.diffusion_worker")
    room.until_step(job_id, 100)
    room.do(states.pause, job_id)
    paused = room.until_status(job_id, JobStatus.PAUSED)
    assert paused.slice_state is not None
    assert paused.progress_done < preset.training.images_total
    room.do(states.resume, job_id)
    room.until(lambda: room.job(job_id).progress_done > paused.progress_done, "progress after the pause")
    room.do(states.cancel, job_id)
    assert room.until_ended(job_id).status == JobStatus.CANCELLED


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_workers_train_two_models_at_the_same_time_and_killing_one_loses_nothing(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    version_id = drawn_version(engine, object_store, 12)
    preset = tiny_preset(images_total=1600)
    jobs = [submit_training(room, version_id, preset, recipe=name, slice_seconds=1) for name in ("A", "B")]
    room.caretaker()
    workers = [room.service("tests.fixtures.diffusion_worker") for _ in range(2)]
    room.until(
        lambda: all(room.job(job_id).status == JobStatus.RUNNING and room.job(job_id).progress_done for job_id in jobs),
        "both trainings running at once",
    )
    assert len({room.job(job_id).claimed_by for job_id in jobs}) == 2
    workers[0].kill()
    workers[0].wait()
    for job_id in jobs:
        job = room.until_status(job_id, JobStatus.SUCCEEDED, JobStatus.FAILED, timeout_seconds=240)
        assert job.status == JobStatus.SUCCEEDED, job.problem
        assert job.outputs["images_seen"] == preset.training.images_total
