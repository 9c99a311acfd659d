"""Styling as jobs: whole sets of styled pairs, each beside the sample it was and the source it is styled after."""

import numpy as np
import pytest
from sqlalchemy import Engine

from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import DatasetVersion, JobStatus
from segsmith_shared.plans.specs import Recipe
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.pair_arrays import read_image, read_region
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.engine_room import EngineRoom, kill
from tests.fixtures.generations import samples_of
from tests.fixtures.pipelines import generation_of, jobs_of, submit

SOURCES = 8
SHORT = {"respaced_steps": 8, "skipped_steps": 3, "divergence_until": 2, "batch": 4}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_styled_sets_stand_beside_the_plain_ones_whoever_styles_them(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    version_id = drawn_version(engine, object_store, SOURCES)
    room.caretaker()
    victim = room.service("segsmith_worker")
    recipe = Recipe(strategy="full", styling=SHORT, generate_jobs=2)
    pipeline_id = submit(room, version_id, recipe)
    plain, styled = (generation_of(room, pipeline_id, name) for name in ("Diff", "Styled-Diff"))
    room.until(lambda: samples_of(room, styled.id), "the first styled samples", timeout_seconds=180)
    kill(victim)
    room.service("segsmith_worker")
    style_jobs = jobs_of(room, pipeline_id, "style")
    assert len(style_jobs) == 2
    for job in style_jobs:
        assert room.until_ended(job.id, timeout_seconds=180).status == JobStatus.SUCCEEDED, room.logs()

    contents, samples = samples_of(room, plain.id), samples_of(room, styled.id)
    assert samples.keys() == {key for key, content in contents.items() if content.accepted}
    for key, sample in samples.items():
        content = contents[key]
        assert sample.provenance["styled_sample_id"] == str(content.id)
        assert sample.provenance["content_digest"] == content.image_digest
        assert sample.provenance["style_tower"]["stand_in"]
        assert sample.label_digest == content.label_digest
        before, after = (read_image(object_store.get_bytes(each.image_digest)) for each in (content, sample))
        region = read_region(object_store.get_bytes(sample.region_digest))
        assert np.abs(after.astype(int) - before)[region].max() > 0
    with session_scope(engine) as session:
        generation = generation_of(room, pipeline_id, "Styled-Diff")
        version = session.get_one(DatasetVersion, generation.version_ids["1"])
    assert (version.label, version.pair_count) == ("Styled-Diff-sample-1", generation.counts["accepted"])
    assert generation.counts["requested"] == len(samples)
