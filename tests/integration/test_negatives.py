"""Pictures without a lesion go through the whole product: as sources, as training pairs of arms, and as tests."""

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from segsmith_shared.database.pairs import pairs_of
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import Clustering, JobStatus, Model, SegmentationRun
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_shared.plans.specs import ArmSpec, NamedPart, PartRef, Recipe, SegmentationStudySpec, TrainJobSpec
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.pair_arrays import labels_of, read_label, read_region, read_squares
from segsmith_worker.steps.generate import usable_sources
from segsmith_worker.steps.train import training_pairs
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.engine_room import EngineRoom
from tests.fixtures.generations import samples_of
from tests.fixtures.pipelines import generation_of, jobs_of, submit
from tests.fixtures.trainings import TINY

SOURCES, NEGATIVES = 12, (1, 4, 8)
QUICK = {"steps": 2, "batch": 4, "side_px": 32, "validate_every_steps": 2}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lesion_is_drawn_into_pictures_without_one_and_arms_and_tests_count_them(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    version_id = drawn_version(engine, object_store, SOURCES, negatives=NEGATIVES)
    test_id = drawn_version(engine, object_store, 6, seed=1, negatives=(0, 5))
    validation_id = drawn_version(engine, object_store, 4, seed=2)
    room.service("segsmith_worker")
    recipe = Recipe(
        overrides={
            "sampling": {**TINY["sampling"], "label": "exchanged"},
            "training": {**TINY["training"], "images_total": 40, "label_given_share": 0.5},
        }
    )
    pipeline_id = submit(
        room,
        version_id,
        recipe,
        validation=PartRef(version_id=validation_id),
        tests=(NamedPart(name="held out", pairs=PartRef(version_id=test_id)),),
        segmentation=SegmentationStudySpec(
            overrides=QUICK, seeds=1, arms=(ArmSpec(name="both", real=True, sets=("Diff-1",)),)
        ),
    )
    (segment,) = jobs_of(room, pipeline_id, "segment")
    assert room.until_ended(segment.id, timeout_seconds=300).status == JobStatus.SUCCEEDED, room.logs()
    with session_scope(engine) as session:
        pairs = {str(pair.id): pair for pair in pairs_of(session, PartRef(version_id=version_id))}
        (clustering,) = session.exec(select(Clustering))
        (run,) = session.exec(select(SegmentationRun))
        trained = {model.cluster: model.training_images for model in session.exec(select(Model))}
    sizes = [list(clustering.assignments.values()).count(cluster) for cluster in range(clustering.cluster_count)]
    assert sum(sizes) == SOURCES
    assert [trained[cluster] for cluster in range(clustering.cluster_count)] == sizes  # labels given: all can teach
    samples = samples_of(room, generation_of(room, pipeline_id, "Diff").id)
    assert {name for name, _ in samples} == {pair.name for pair in pairs.values()}
    for place in NEGATIVES:
        sample = samples[f"drawn-{place:04}", 1]
        assert sample.accepted
        given_by = pairs[sample.provenance["label_pair_id"]]
        assert given_by.lesion_fraction > 0
        (given,) = labels_of(read_squares(object_store, [given_by], 32, "squash"))
        assert (read_label(object_store.get_bytes(sample.label_digest)) == given).all()
        assert (read_region(object_store.get_bytes(sample.region_digest)) >= given).all()
    assert {f"drawn-{place:04}" for place in NEGATIVES} <= set(run.training_manifest["train"])
    assert run.scores["held out"]["negatives"] == 2
    assert 0 <= run.scores["held out"]["false_positives"] <= 1


def test_what_draws_its_own_labels_neither_learns_from_negatives_nor_draws_from_them(
    engine: Engine, object_store: ObjectStore
) -> None:
    version_id = drawn_version(engine, object_store, SOURCES, negatives=NEGATIVES)
    reference = PartRef(version_id=version_id)
    plain = preset_named("tiny-cpu")
    giving = plain.with_overrides({"training.label_given_share": 0.3, "sampling.label": "exchanged"})
    order = {"pairs": reference, "geometry": "squash", "recipe": "Diff", "preset": {}, "seed": 0, "torch_threads": 1}
    spec = TrainJobSpec.model_validate(order)
    with session_scope(engine) as session:
        stored = pairs_of(session, reference)
        with_lesion = [pair.name for pair in stored if pair.position not in NEGATIVES]
        assert [pair.name for pair in training_pairs(session, spec, lesions_only=True)] == with_lesion
        assert len(training_pairs(session, spec, lesions_only=False)) == SOURCES
    assert [pair.name for pair in usable_sources(stored, plain)] == with_lesion
    assert len(usable_sources(stored, giving)) == SOURCES
    assert len(usable_sources(stored, with_redraw(plain, "full"))) == SOURCES
    assert [pair.name for pair in usable_sources(stored, with_redraw(plain, "background"))] == (with_lesion)


def with_redraw(preset: Preset, redraw: str) -> Preset:
    return preset.with_overrides({"sampling.redraw": redraw, f"training.region_{redraw}_share": 0.3})
