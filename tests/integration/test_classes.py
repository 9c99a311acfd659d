"""Pairs whose labels tell classes apart, from a version through training and drawing to scores of each class."""

from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlmodel import select

from segsmith_shared.database.pipelines import DifferentClasses, plan_for
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import DatasetVersion, Job, JobStatus, Model, Pair, SegmentationRun
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.specs import (
    ArmSpec,
    NamedPart,
    PartRef,
    PipelineSpec,
    QualityGateSpec,
    Recipe,
    SegmentationStudySpec,
)
from segsmith_shared.storage.objects import ObjectStore
from segsmith_shared.storage.pair_arrays import read_label, read_region
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.engine_room import EngineRoom
from tests.fixtures.generations import samples_of
from tests.fixtures.pipelines import generation_of, jobs_of, submit
from tests.fixtures.trainings import TINY

NAMES = ("polyp", "instrument")
SOURCES = 10
QUICK = {"steps": 2, "batch": 4, "side_px": 32, "validate_every_steps": 2}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_classes_go_from_stored_labels_into_networks_samples_judges_and_scores(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    version_id = drawn_version(engine, object_store, SOURCES, class_names=NAMES)
    test_id = drawn_version(engine, object_store, 4, seed=1, class_names=NAMES)
    validation_id = drawn_version(engine, object_store, 3, seed=2, class_names=NAMES)
    recipe = Recipe(
        strategy="conditioned",
        overrides={
            "sampling": {**TINY["sampling"], "label": "exchanged"},
            "training": {**TINY["training"], "images_total": 40, "label_given_share": 0.5},
        },
        styling={"respaced_steps": 4, "skipped_steps": 2, "divergence_until": 0},
    )
    room.service("segsmith_worker")
    pipeline_id = submit(
        room,
        version_id,
        recipe,
        validation=PartRef(version_id=validation_id),
        tests=(NamedPart(name="held out", pairs=PartRef(version_id=test_id)),),
        quality_gate=QualityGateSpec(preset="tiny-cpu", overrides=QUICK, folds=2, minimum_agreement_quantile=None),
        segmentation=SegmentationStudySpec(
            preset="tiny-cpu", overrides=QUICK, seeds=1, arms=(ArmSpec(name="both", real=True, sets=("Diff-1",)),)
        ),
    )
    for kind in ("cluster", "train", "generate", "style", "gate", "segment"):
        for job in jobs_of(room, pipeline_id, kind):
            ended = room.until_ended(job.id, timeout_seconds=300)
            assert ended.status == JobStatus.SUCCEEDED, (ended.problem, room.logs())

    with session_scope(engine) as session:
        (model,) = session.exec(select(Model)).all()
        run = session.exec(select(SegmentationRun)).one()
        sets = {row.label: row.class_names for row in session.exec(select(DatasetVersion))}
        sources = {pair.id: pair for pair in session.exec(select(Pair).where(Pair.version_id == version_id))}
    assert model.preset["network"]["classes"] == 2
    assert sets["Diff-sample-1"] == sets["Styled-Diff-sample-1"] == list(NAMES)
    assert {"dice", "iou"} <= run.scores["held out"].keys()
    assert any(f"dice[{name}]" in run.scores["held out"] for name in NAMES)

    drawn = samples_of(room, generation_of(room, pipeline_id, "Diff").id)
    styled = samples_of(room, generation_of(room, pipeline_id, "Styled-Diff").id)
    assert len(drawn) == SOURCES
    shown = set[int]()
    for key, sample in drawn.items():
        lender = sources[UUID(sample.provenance["label_pair_id"])]
        label, given = (object_store.get_bytes(each.label_digest) for each in (sample, lender))
        assert np.array_equal(read_label(label, classes=2), read_label(given, classes=2))
        shown |= set(np.unique(read_label(label, classes=2)).tolist())
        assert styled[key].label_digest == sample.label_digest
        own = object_store.get_bytes(sources[sample.source_pair_id].label_digest)
        assert sample.source_label_digest == sources[sample.source_pair_id].label_digest
        lesions = (read_label(own, classes=2) > 0) | (read_label(given, classes=2) > 0)
        assert read_region(object_store.get_bytes(sample.region_digest))[lesions].all()
    assert shown == {0, 1, 2}


def test_a_pipeline_is_refused_where_two_sets_of_labels_tell_different_classes_apart(
    engine: Engine, object_store: ObjectStore
) -> None:
    versions = {
        names: drawn_version(engine, object_store, 4, seed=seed, class_names=names)
        for seed, names in enumerate([NAMES, NAMES[::-1], ()])
    }
    exchanged = {"sampling.label": "exchanged", "training.label_given_share": 0.5}
    for other, words in ((NAMES[::-1], "instrument, polyp"), ((), "lesion and background")):
        reference = PartRef(version_id=versions[other])
        tested = {"tests": (NamedPart(name="elsewhere", pairs=reference),)}
        lent = {"recipes": (Recipe(strategy="full", overrides=exchanged, labels_from=reference),)}
        for fields, what in ((tested, "Test set 'elsewhere'"), (lent, "The labels of recipe Diff")):
            spec = PipelineSpec.model_validate(
                {"pairs": PartRef(version_id=versions[NAMES]), "segmentation": None, "allow_stand_ins": True, **fields}
            )
            with session_scope(engine) as session, pytest.raises(DifferentClasses, match=f"{what}.*{words}") as caught:
                plan_for(session, spec, 1)
            assert "polyp, instrument" in caught.value.detail
            assert caught.value.hint


def test_a_model_of_other_classes_is_refused_though_it_draws_as_many(engine: Engine, object_store: ObjectStore) -> None:
    trained_on = drawn_version(engine, object_store, 4, class_names=NAMES)
    others = drawn_version(engine, object_store, 4, seed=1, class_names=NAMES[::-1])
    preset = preset_named("tiny-cpu").with_overrides({"network.classes": 2}).model_dump(mode="json")
    job = Job(kind="train", name="train", queue="gpu", spec={"pairs": {"version_id": str(trained_on)}})
    with session_scope(engine) as session:
        session.add(job)
        session.flush()
        model = Model(
            job_id=job.id,
            recipe="Diff",
            preset=preset,
            images_seen=1,
            training_images=4,
            weights="ema",
            checkpoint_digest="cc" * 32,
        )
        session.add(model)
    for recipe in (
        Recipe(strategy="imported", model_ids=(model.id,)),
        Recipe(strategy="full", warm_start_model_id=model.id),
    ):
        fields = {"recipes": (recipe,), "segmentation": None, "allow_stand_ins": True, "clustering": {"k": 2}}
        with session_scope(engine) as session, pytest.raises(DifferentClasses, match="draws polyp, instrument; "):
            plan_for(session, PipelineSpec.model_validate({"pairs": PartRef(version_id=others), **fields}), 1)
        with session_scope(engine) as session:
            plan_for(session, PipelineSpec.model_validate({"pairs": PartRef(version_id=trained_on), **fields}), 1)
