"""Generations as jobs: who draws a sample, when and after which accident does not show in it."""

from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import DatasetVersion, Generation, JobStatus, Origin, Pair
from segsmith_shared.plans.specs import Recipe
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.pair_arrays import labels_of, read_image, read_label, read_region, read_squares
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.engine_room import EngineRoom, kill
from tests.fixtures.generations import samples_of, submit_generation
from tests.fixtures.pipelines import generation_of, jobs_of, submit
from tests.fixtures.trainings import TINY, submit_training, tiny_preset

SOURCES = 10
SAMPLING = {"evaluations": 4, "batch": 4, "samples_per_source": 1}


@pytest.fixture
def trained(room: EngineRoom, engine: Engine, object_store: ObjectStore) -> tuple[UUID, UUID]:
    """A version of ten drawn pairs and a training on it that has ended."""
    version_id = drawn_version(engine, object_store, SOURCES)
    training_id = submit_training(room, version_id, tiny_preset(images_total=400))
    room.service("tests.fixtures.diffusion_worker")
    assert room.until_ended(training_id, timeout_seconds=120).status == JobStatus.SUCCEEDED, room.logs()
    return version_id, training_id


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_samples_do_not_depend_on_workers_shares_or_a_killed_worker(
    room: EngineRoom, trained: tuple[UUID, UUID]
) -> None:
    version_id, training_id = trained
    preset = tiny_preset(images_total=400)
    alone, jobs = submit_generation(room, training_id, version_id, preset, shares=1)
    room.until_ended(jobs[0], timeout_seconds=120)
    room.caretaker()
    victim = room.service("tests.fixtures.diffusion_worker")
    shared, jobs = submit_generation(room, training_id, version_id, preset, shares=3)
    room.until(lambda: samples_of(room, shared), "the first samples of the shared generation", timeout_seconds=60)
    kill(victim)
    for job_id in jobs:
        assert room.until_ended(job_id, timeout_seconds=120).status == JobStatus.SUCCEEDED, room.logs()
    one, other = samples_of(room, alone), samples_of(room, shared)
    assert len(one) == SOURCES
    assert one.keys() == other.keys()
    assert all(one[key].image_digest == other[key].image_digest for key in one)
    assert all(one[key].label_digest == other[key].label_digest for key in one)


@pytest.mark.timeout(300)
def test_accepted_samples_become_one_set_whose_background_is_the_sources(
    room: EngineRoom, engine: Engine, object_store: ObjectStore, trained: tuple[UUID, UUID]
) -> None:
    version_id, training_id = trained
    generation_id, jobs = submit_generation(room, training_id, version_id, tiny_preset(images_total=400), shares=2)
    for job_id in jobs:
        assert room.until_ended(job_id, timeout_seconds=120).status == JobStatus.SUCCEEDED, room.logs()
    samples = samples_of(room, generation_id)
    accepted = [sample for sample in samples.values() if sample.accepted]
    with session_scope(engine) as session:
        generation = session.get_one(Generation, generation_id)
        version = session.exec(select(DatasetVersion).where(DatasetVersion.label == "Diff-sample-1")).one()
        pairs = session.exec(select(Pair).where(Pair.version_id == version.id).order_by(col(Pair.position))).all()
    assert generation.version_ids == {"1": str(version.id)}
    assert generation.counts["requested"] == SOURCES
    assert generation.counts["accepted"] == len(accepted) == version.pair_count == len(pairs)
    assert version.origin == Origin.SYNTHETIC
    assert all(pair.name.endswith("~1") for pair in pairs)
    for sample in samples.values():
        image, source = (read_image(object_store.get_bytes(d)) for d in (sample.image_digest, sample.source_digest))
        kept = ~read_region(object_store.get_bytes(sample.region_digest))
        assert np.array_equal(image[kept], source[kept])
        assert sample.provenance["code_version"]
        assert sample.provenance["sampling"]["sampler"] == "ancestral_known_clean"


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_one_network_that_is_told_the_clusters_draws_for_all_of_them_to_labels_of_other_pairs(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    version_id = drawn_version(engine, object_store, SOURCES)
    room.service("segsmith_worker")
    sampling = {**SAMPLING, "guidance": 2.0, "label": "exchanged"}
    training = {**TINY["training"], "images_total": 400, "label_given_share": 0.5}
    recipe = Recipe(strategy="conditioned", overrides={"sampling": sampling, "training": training})
    pipeline_id = submit(room, version_id, recipe)
    (job,) = jobs_of(room, pipeline_id, "generate")
    assert room.until_ended(job.id, timeout_seconds=240).status == JobStatus.SUCCEEDED, room.logs()
    assert [job.name for job in jobs_of(room, pipeline_id, "train")] == ["train Diff, conditioned on 2 clusters"]
    samples = samples_of(room, generation_of(room, pipeline_id, "Diff").id).values()
    assert len(samples) == SOURCES
    assert len({sample.model_id for sample in samples}) == 1
    assert {sample.cluster for sample in samples} == {0, 1}
    assert {sample.evaluations for sample in samples} == {2 * SAMPLING["evaluations"]}
    with session_scope(engine) as session:
        pairs = {str(p.id): p for p in session.exec(select(Pair).where(Pair.version_id == version_id))}
    for sample in samples:
        other = pairs[sample.provenance["label_pair_id"]]
        assert other.id != sample.source_pair_id
        (given,) = labels_of(read_squares(object_store, [other], 32, "squash"))
        assert np.array_equal(read_label(object_store.get_bytes(sample.label_digest)), given)
