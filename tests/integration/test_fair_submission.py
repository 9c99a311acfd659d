"""What a submission sets aside, and which pictures it refuses to test on."""

from collections.abc import Callable
from io import BytesIO
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine
from sqlmodel import col, select

from segsmith_shared.database.pairs import pairs_of
from segsmith_shared.database.pipelines import OverlappingPairs, plan_for, submit_pipeline
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import Job, Model, Pair, Pipeline, Split
from segsmith_shared.database.validation import NoValidationPairs
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.pair import ByteArray
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.specs import ArmSpec, NamedPart, PartRef, PipelineSpec, Recipe, SegmentationStudySpec
from segsmith_shared.storage.objects import ObjectStore
from tests.fixtures.drawn_version import NamedPicture, drawn_version, stored_version

SIDE_PX = 64


def picture(index: int, group: int | None = None) -> NamedPicture:
    image, label = draw_pair(0, index, SIDE_PX)
    return NamedPicture(f"p{index:02}", image, label.astype(np.uint8), group)


def jpeg(image: ByteArray) -> ByteArray:
    stream = BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=92)
    return np.asarray(Image.open(stream))


def resized(image: ByteArray) -> ByteArray:
    return np.asarray(Image.fromarray(image).resize((113, 113), Image.Resampling.LANCZOS))


GUISES: dict[str, Callable[[ByteArray], ByteArray]] = {
    "the same": lambda image: image,
    "JPEG": jpeg,
    "resized": resized,
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "upside down": lambda image: np.ascontiguousarray(image[::-1]),
    "turned by 180°, resized and JPEG": lambda image: jpeg(resized(np.ascontiguousarray(image[::-1, ::-1]))),
}


class Datasets:
    """Versions of one database, and requests on them."""

    def __init__(self, engine: Engine, objects: ObjectStore) -> None:
        self.engine, self.objects = engine, objects

    def stored(self, *pictures: NamedPicture, fingerprints: bool = True) -> PartRef:
        return PartRef(version_id=stored_version(self.engine, self.objects, pictures, fingerprints=fingerprints))

    def request(self, pairs: PartRef, tests: PartRef | None = None, **fields: object) -> PipelineSpec:
        tests = tests or PartRef(version_id=drawn_version(self.engine, self.objects, 4, seed=9))
        return PipelineSpec.model_validate(
            {
                "pairs": pairs,
                "tests": (NamedPart(name="held out", pairs=tests),),
                "clustering": {"k": 1},
                "allow_stand_ins": True,
            }
            | fields
        )

    def submitted(self, spec: PipelineSpec) -> tuple[PipelineSpec, list[Job]]:
        with session_scope(self.engine) as session:
            pipeline_id = submit_pipeline(session, spec, 1).id
        with session_scope(self.engine) as session:
            stored = session.get_one(Pipeline, pipeline_id).spec
            jobs = session.exec(select(Job).where(Job.pipeline_id == pipeline_id)).all()
            return PipelineSpec.model_validate(stored), list(jobs)

    def planned_notes(self, spec: PipelineSpec) -> list[str]:
        with session_scope(self.engine) as session:
            return plan_for(session, spec, 1).notes

    def names(self, reference: PartRef | None) -> list[str]:
        assert reference is not None
        with session_scope(self.engine) as session:
            return [pair.name for pair in pairs_of(session, reference)]

    def trained_on(self, pairs: PartRef) -> UUID:
        """A model of these pairs."""
        job = Job(kind="train", queue="gpu", name="train", spec={"pairs": pairs.model_dump(mode="json")})
        model = Model(
            job_id=job.id,
            recipe="Diff",
            preset=preset_named("tiny-cpu").model_dump(mode="json"),
            images_seen=1,
            training_images=1,
            weights="ema",
            checkpoint_digest="cc" * 32,
        )
        with session_scope(self.engine) as session:
            session.add(job)
            session.flush()
            session.add(model)
        return model.id


@pytest.fixture
def datasets(engine: Engine, object_store: ObjectStore) -> Datasets:
    return Datasets(engine, object_store)


def test_every_arm_and_seed_validates_on_one_list_that_nothing_else_of_the_pipeline_reads(datasets: Datasets) -> None:
    pictures = [picture(index, group=index // 3 if index < 12 else None) for index in range(30)]
    arms = (
        ArmSpec(name="real"),
        ArmSpec(name="8 real", real_limit=8),
        ArmSpec(name="8 + synthetic", real_limit=8, sets=("Diff-2",)),
        ArmSpec(name="synthetic", real=False, sets=("Diff-1",)),
    )
    spec = datasets.request(datasets.stored(*pictures), segmentation=SegmentationStudySpec(arms=arms, seeds=2))
    stored, jobs = datasets.submitted(spec)
    validation, training = set(datasets.names(stored.validation)), set(datasets.names(stored.pairs))
    assert len(validation) == 6
    assert validation | training == {each.name for each in pictures}
    assert not validation & training
    for group in range(4):
        members = {f"p{index:02}" for index in range(3 * group, 3 * group + 3)}
        assert members <= validation or members <= training
    assert {PartRef.model_validate(job.spec["validation"]) for job in jobs if job.kind == "segment"} == {
        stored.validation
    }
    assert {PartRef.model_validate(job.spec["pairs"]) for job in jobs if "pairs" in job.spec} == {stored.pairs}


def test_a_dry_run_sets_nothing_aside_and_counts_what_would_be_left(datasets: Datasets) -> None:
    spec = datasets.request(datasets.stored(*map(picture, range(30))))
    with session_scope(datasets.engine) as session:
        plan = plan_for(session, spec, 1)
    samples = next(line.amount for line in plan.cost if line.what == "Diff: samples")
    assert samples == 3 * 24
    with session_scope(datasets.engine) as session:
        assert not session.exec(select(Split)).all()


def test_validation_pairs_that_are_given_are_used_and_no_others_are_set_aside(datasets: Datasets) -> None:
    validation = datasets.stored(*map(picture, range(40, 44)))
    pairs = datasets.stored(*map(picture, range(20)))
    stored, jobs = datasets.submitted(datasets.request(pairs, validation=validation))
    assert (stored.validation, stored.pairs) == (validation, pairs)
    assert {PartRef.model_validate(job.spec["validation"]) for job in jobs if job.kind == "segment"} == {validation}


def test_a_run_without_segmentation_keeps_all_its_pairs(datasets: Datasets) -> None:
    pairs = datasets.stored(*map(picture, range(6)))
    stored, _ = datasets.submitted(datasets.request(pairs, segmentation=None))
    assert stored.pairs == pairs
    assert stored.validation is None


def test_pairs_that_an_imported_model_has_seen_do_not_validate(datasets: Datasets) -> None:
    seen = datasets.stored(*map(picture, range(14)))
    pairs = datasets.stored(*map(picture, range(20)))
    recipe = Recipe(strategy="imported", model_ids=(datasets.trained_on(seen),))
    stored, _ = datasets.submitted(datasets.request(pairs, recipes=(recipe,)))
    assert len(datasets.names(stored.validation)) == 4
    assert not set(datasets.names(stored.validation)) & set(datasets.names(seen))
    with pytest.raises(NoValidationPairs, match="trained on all 14 pairs"):
        datasets.submitted(datasets.request(seen, recipes=(recipe,)))


def test_a_picture_that_a_model_has_seen_as_a_jpeg_does_not_validate_either(datasets: Datasets) -> None:
    seen = datasets.stored(*(NamedPicture(each.name, jpeg(each.image), each.label) for each in map(picture, range(14))))
    pairs = datasets.stored(*map(picture, range(20)))
    recipe = Recipe(strategy="imported", model_ids=(datasets.trained_on(seen),))
    stored, _ = datasets.submitted(datasets.request(pairs, recipes=(recipe,)))
    assert set(datasets.names(stored.validation)) <= {f"p{index}" for index in range(14, 20)}


def test_the_one_patient_that_a_model_has_not_seen_validates(datasets: Datasets) -> None:
    seen = datasets.stored(*map(picture, range(6)))
    pairs = datasets.stored(*(picture(index, group=index // 6) for index in range(12)))
    recipe = Recipe(strategy="imported", model_ids=(datasets.trained_on(seen),))
    stored, _ = datasets.submitted(datasets.request(pairs, recipes=(recipe,)))
    assert datasets.names(stored.validation) == [f"p{index:02}" for index in range(6, 12)]


def test_two_patients_are_one_to_train_on_and_one_to_validate_with(datasets: Datasets) -> None:
    pairs = datasets.stored(*(picture(index, group=index // 7) for index in range(12)))
    stored, _ = datasets.submitted(datasets.request(pairs))
    assert datasets.names(stored.validation) == [f"p{index:02}" for index in range(7, 12)]


def test_pictures_that_an_imported_model_has_seen_are_not_tested_on(datasets: Datasets) -> None:
    seen, pairs = datasets.stored(*map(picture, range(40, 46))), datasets.stored(*map(picture, range(20)))
    recipe = Recipe(strategy="imported", model_ids=(datasets.trained_on(seen),))
    tests = datasets.stored(picture(44), picture(50))
    with pytest.raises(OverlappingPairs, match="p44 = p44"):
        datasets.submitted(datasets.request(pairs, tests, recipes=(recipe,)))


@pytest.mark.parametrize("guise", GUISES)
def test_a_test_picture_that_is_trained_on_is_refused_in_whatever_guise_and_under_another_label(
    datasets: Datasets, guise: str
) -> None:
    pairs = datasets.stored(*map(picture, range(12)))
    copied = GUISES[guise](picture(7).image)
    tests = datasets.stored(
        picture(30),
        NamedPicture("renamed", copied, np.ones(copied.shape[:2], np.uint8)),
        picture(31),
    )
    with pytest.raises(OverlappingPairs) as refused:
        datasets.planned_notes(datasets.request(pairs, tests))
    assert "1 of 3 pictures of test set 'held out'" in refused.value.detail
    (overlap,) = refused.value.members["overlaps"]
    assert overlap.startswith(("renamed = p07", "renamed ~ p07"))
    assert ("likeness" in overlap) == (guise != "the same")


def test_pictures_that_only_resemble_each_other_are_not_refused(datasets: Datasets) -> None:
    pairs = datasets.stored(*map(picture, range(40)))
    tests = datasets.stored(*map(picture, range(60, 100)))
    assert not datasets.planned_notes(datasets.request(pairs, tests))


def test_frames_of_one_sequence_in_two_versions_are_refused_until_they_are_allowed(datasets: Datasets) -> None:
    frame = picture(5).image
    moved = np.roll(frame, 2, axis=1)
    pairs = datasets.stored(*map(picture, range(12)))
    tests = datasets.stored(picture(30), NamedPicture("later frame", moved, picture(5).label))
    with pytest.raises(OverlappingPairs, match="later frame ~ p05") as refused:
        datasets.planned_notes(datasets.request(pairs, tests))
    assert "allow_similar_tests" in refused.value.hint
    notes = datasets.planned_notes(datasets.request(pairs, tests, allow_similar_tests=True))
    assert notes == ["1 of 2 pictures of test set 'held out' resemble pictures trained on."]
    copied = datasets.stored(NamedPicture("copy", jpeg(frame), picture(5).label))
    with pytest.raises(OverlappingPairs):
        datasets.planned_notes(datasets.request(pairs, copied, allow_similar_tests=True))


def test_a_list_that_tears_a_sequence_apart_is_obeyed_and_said(datasets: Datasets, engine: Engine) -> None:
    whole = datasets.stored(*(picture(index, group=0 if index < 4 else None) for index in range(12)))
    with session_scope(engine) as session:
        ids = [str(pair.id) for pair in pairs_of(session, whole)]
        split = Split(version_id=whole.version_id, name="mine", parts={"train": ids[2:], "test": ids[:2]})
        session.add(split)
    train, test = (PartRef(version_id=whole.version_id, split_id=split.id, part=part) for part in ("train", "test"))
    (note,) = datasets.planned_notes(datasets.request(train, test, segmentation=None))
    assert note.startswith("2 of 2 pictures of test set 'held out' belong to groups")


def test_given_validation_pairs_may_neither_be_trained_on_nor_tested_on(datasets: Datasets) -> None:
    pairs, tests = datasets.stored(*map(picture, range(12))), datasets.stored(picture(30), picture(31))
    trained_on = datasets.stored(picture(40), NamedPicture("again", jpeg(picture(3).image), picture(3).label))
    with pytest.raises(OverlappingPairs, match="validation pairs are also trained on: again ~ p03"):
        datasets.planned_notes(datasets.request(pairs, tests, validation=trained_on))
    tested_on = datasets.stored(picture(40), picture(31))
    with pytest.raises(OverlappingPairs, match="also validated with: p31 = p31"):
        datasets.planned_notes(datasets.request(pairs, tests, validation=tested_on))


def test_of_pairs_without_fingerprints_equal_files_are_found_and_the_rest_is_said_to_be_unknown(
    datasets: Datasets,
) -> None:
    pairs = datasets.stored(*map(picture, range(12)), fingerprints=False)
    with pytest.raises(OverlappingPairs):
        datasets.planned_notes(datasets.request(pairs, datasets.stored(picture(30), picture(3))))
    reencoded = NamedPicture("x", jpeg(picture(3).image), picture(3).label)
    (note,) = datasets.planned_notes(datasets.request(pairs, datasets.stored(picture(30), reencoded)))
    assert "imported before fingerprints" in note


def test_a_version_has_its_pairs_fingerprints_deleted_with_them(datasets: Datasets) -> None:
    reference = datasets.stored(picture(1))
    with session_scope(datasets.engine) as session:
        session.delete(session.exec(select(Pair).where(col(Pair.version_id) == reference.version_id)).one())
