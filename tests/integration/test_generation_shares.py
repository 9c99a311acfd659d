"""How the samples of a generation are shared among its jobs, over real rows, without drawing any."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from segsmith_shared.database.pairs import pairs_of
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import Clustering, Dataset, Generation, Job, Model, Pipeline
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.specs import GenerateJobSpec, GenerationOrder, PartRef
from segsmith_shared.problems import Conflict
from segsmith_shared.storage.objects import ObjectStore
from segsmith_worker.steps.generate import Labels, planned_draws
from tests.fixtures.drawn_version import drawn_version

SOURCES, CLUSTERS = 14, 5
Drawn = tuple[UUID, int, UUID, int]


@pytest.fixture
def version_id(engine: Engine, object_store: ObjectStore) -> UUID:
    return drawn_version(engine, object_store, SOURCES, 16)


@pytest.fixture
def generation_id(engine: Engine, version_id: UUID) -> UUID:
    """A generation per cluster whose five models are trained."""
    preset = preset_named("tiny-cpu").model_dump(mode="json")
    pipeline, dataset = Pipeline(name="shared"), Dataset(name="sets")
    job = Job(pipeline_id=pipeline.id, kind="train", queue="gpu", status="succeeded")
    order = GenerationOrder(
        pairs=PartRef(version_id=version_id),
        geometry="squash",
        preset=preset,
        strategy="per_cluster",
        source_limit=None,
        seed=3,
    )
    generation = Generation(
        pipeline_id=pipeline.id,
        recipe="Diff",
        source_version_id=version_id,
        dataset_id=dataset.id,
        spec=order.model_dump(mode="json"),
    )
    with session_scope(engine) as session:
        session.add_all([pipeline, dataset])
        session.flush()
        session.add_all([job, generation])
        session.flush()
        pairs = pairs_of(session, order.pairs)
        clustering = Clustering(
            version_id=version_id,
            job_id=job.id,
            cluster_count=CLUSTERS,
            method="k-means",
            assignments={str(pair.id): pair.position % CLUSTERS for pair in pairs},
        )
        session.add(clustering)
        session.flush()
        session.add_all(
            Model(
                job_id=job.id,
                recipe="Diff",
                clustering_id=clustering.id,
                cluster=cluster,
                preset=preset,
                images_seen=1,
                training_images=3,
                weights="ema",
                checkpoint_digest="cc" * 32,
            )
            for cluster in range(CLUSTERS)
        )
        return generation.id


def drawn(session: Session, generation_id: UUID, share: int, shares: int, **more: Any) -> list[Drawn]:
    generation = session.get_one(Generation, generation_id)
    document = {"generation_id": generation_id, "share": share, "shares": shares, "torch_threads": 1} | more
    spec = GenerateJobSpec.model_validate(document)
    draws = planned_draws(session, generation, GenerationOrder.model_validate(generation.spec), spec)
    return [(draw.source.id, draw.sample_index, draw.model.id, draw.seed) for draw in draws]


@pytest.mark.parametrize("shares", [2, 4, SOURCES])
def test_shares_hold_every_sample_once_and_read_few_models_each(
    engine: Engine, generation_id: UUID, shares: int
) -> None:
    with session_scope(engine) as session:
        whole = drawn(session, generation_id, 0, 1)
        parts = [drawn(session, generation_id, share, shares, shared_by="model") for share in range(shares)]
    assert [draw for part in parts for draw in part] == whole
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    models_read = sum(len({model_id for _, _, model_id, _ in part}) for part in parts)
    assert models_read <= len({model_id for _, _, model_id, _ in whole}) + shares - 1


def test_jobs_of_before_there_were_shares_by_model_go_on_with_the_sources_that_they_began_with(
    engine: Engine, generation_id: UUID, version_id: UUID
) -> None:
    with session_scope(engine) as session:
        sources = [pair.id for pair in pairs_of(session, PartRef(version_id=version_id))]
        parts = [drawn(session, generation_id, share, 3) for share in range(3)]
        whole = drawn(session, generation_id, 0, 1)
    for share, part in enumerate(parts):
        assert {source_id for source_id, *_ in part} == set(sources[share::3])
    assert sorted(draw for part in parts for draw in part) == sorted(whole)


def test_a_label_to_draw_to_is_a_namesake_or_any_other_by_the_seed(engine: Engine, version_id: UUID) -> None:
    with session_scope(engine) as session:
        pairs = pairs_of(session, PartRef(version_id=version_id))
    labels = Labels.of(pairs)
    for source in pairs:
        chosen = {labels.label_for(source, seed).id for seed in range(200)}
        assert chosen == {pair.id for pair in pairs} - {source.id}
    assert labels.label_for(pairs[0], 7) == labels.label_for(pairs[0], 7)
    with pytest.raises(Conflict, match="no other label"):
        Labels.of(pairs[:1]).label_for(pairs[0], 1)
