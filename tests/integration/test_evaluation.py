"""The evaluate job over real Postgres and S3: copies planted in a set are named, shown and, where asked, left out."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from segsmith_evaluator.metrics.evaluate_set import SetMetrics
from segsmith_evaluator.metrics.moments import Moments
from segsmith_evaluator.steps import shards
from segsmith_evaluator.steps.evaluate import run
from segsmith_shared.database.generations import close_generation_when_done
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import (
    Artifact,
    Dataset,
    DatasetVersion,
    Evaluation,
    Generation,
    Job,
    JobStatus,
    Model,
    Pair,
    Pipeline,
    Sample,
)
from segsmith_shared.jobs import states
from segsmith_shared.jobs.context import StepContext, Stopped, StopReason
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.pipeline import TooManyToDropFrom
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.specs import EvaluateJobSpec, EvaluationSpec, PartRef
from segsmith_shared.settings import Settings
from segsmith_shared.storage.objects import ObjectStore
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.planted_samples import planted_sample
from tests.unit.evaluator.report.drawn_report import grown

SIDE_PX, SOURCES = 32, 10
GIVEN_BACK, TAKEN, TAKEN_FROM = 2, 5, 6


class Made:
    """A closed set Diff-sample-1: honest redraws, one of its source again, one of another's lesion."""

    def __init__(self, engine: Engine, objects: ObjectStore, class_names: Sequence[str] = ()) -> None:
        self.engine, self.objects = engine, objects
        self.version_id = drawn_version(engine, objects, SOURCES, SIDE_PX, class_names=class_names)
        preset = preset_named("tiny-cpu").model_dump(mode="json")
        preset["network"]["side_px"] = SIDE_PX
        pipeline, dataset = Pipeline(name="trial"), Dataset(name="sets")
        self.store(pipeline, dataset)
        self.pipeline_id = pipeline.id
        job = self.job("generate", JobStatus.SUCCEEDED)
        model = Model(
            job_id=job.id,
            recipe="Diff",
            preset=preset,
            images_seen=1,
            training_images=SOURCES,
            weights="ema",
            checkpoint_digest="cc" * 32,
        )
        generation = Generation(
            pipeline_id=self.pipeline_id,
            recipe="Diff",
            source_version_id=self.version_id,
            dataset_id=dataset.id,
            spec={"preset": preset},
        )
        self.store(model, generation)
        self.generation_id = generation.id
        with session_scope(engine) as session:
            sources = session.exec(
                select(Pair).where(Pair.version_id == self.version_id).order_by(col(Pair.position))
            ).all()
            session.add_all(self._sample(job, model, source) for source in sources)
            session.flush()
            close_generation_when_done(session, generation.id, job.id)

    def store(self, *rows: Any) -> None:
        with session_scope(self.engine) as session:
            session.add_all(rows)

    def job(self, kind: str, status: str, **fields: Any) -> Job:
        job = Job(pipeline_id=self.pipeline_id, kind=kind, status=status, queue="cpu", name=kind, **fields)
        self.store(job)
        return job

    def evaluate_job(self, *, drop_near_copies: bool, largest_whole_set: int = 100) -> Job:
        spec = EvaluateJobSpec(
            generation_id=self.generation_id,
            sample_index=1,
            pairs=PartRef(version_id=self.version_id),
            geometry="squash",
            evaluation=EvaluationSpec(ms_ssim_pairs=10, bootstrap_samples=5, largest_whole_set=largest_whole_set),
            seed=0,
            torch_threads=1,
            allow_stand_ins=True,
            drop_near_copies=drop_near_copies,
        )
        return self.job("evaluate", JobStatus.QUEUED, spec=spec.model_dump(mode="json"))

    def _sample(self, job: Job, model: Model, source: Pair) -> Sample:
        image, label = draw_pair(0, source.position, SIDE_PX)
        region = grown(label, 2)
        inside, _ = draw_pair(0, 700 + source.position, SIDE_PX)
        if source.position == GIVEN_BACK:
            inside = image
        if source.position == TAKEN:
            inside, other = draw_pair(0, TAKEN_FROM, SIDE_PX)
            region = grown(other, 2)
        drawn = np.where(region[..., None], inside, image)
        sample = planted_sample(self.objects, self.generation_id, job, model, source, drawn, label, region)
        sample.label_digest = source.label_digest  # of two classes a label is stored as a map of them
        return sample


@pytest.fixture
def made(engine: Engine, object_store: ObjectStore) -> Made:
    return Made(engine, object_store)


def context_of(made: Made, settings: Settings, *, stop: bool = False) -> StepContext:
    with session_scope(made.engine) as session:
        claim = states.claim(session, "cpu", "test")
    assert claim is not None
    return StepContext(claim, settings, made.engine, lambda: StopReason.CANCEL if stop else None)


def evaluated(made: Made, settings: Settings, **fields: Any) -> tuple[Job, SetMetrics]:
    """Run the evaluate job of these fields, slice by slice, as its worker would."""
    job = made.evaluate_job(**fields)
    status = JobStatus.QUEUED
    while status == JobStatus.QUEUED:
        context = context_of(made, settings)
        outcome = run(context)
        with session_scope(made.engine) as session:
            status = states.write_outcome(session, context.claim, outcome)
    assert status == JobStatus.SUCCEEDED
    with session_scope(made.engine) as session:
        row = session.exec(select(Evaluation).where(Evaluation.job_id == job.id)).one()
        return job, SetMetrics.model_validate(row.metrics)


def names_of(session: Session, version_id: UUID) -> list[str]:
    return list(session.exec(select(Pair.name).where(Pair.version_id == version_id).order_by(col(Pair.position))))


def test_planted_copies_are_named_counted_and_shown(made: Made, settings: Settings, object_store: ObjectStore) -> None:
    job, metrics = evaluated(made, settings, drop_near_copies=False)
    findings = metrics.memorisation
    assert findings is not None
    flagged = {pair.sample: pair for pair in findings.flagged}
    assert set(flagged) == {f"drawn-{GIVEN_BACK:04}~1", f"drawn-{TAKEN:04}~1"}
    assert flagged[f"drawn-{GIVEN_BACK:04}~1"].of_own_source
    assert flagged[f"drawn-{TAKEN:04}~1"].training == f"drawn-{TAKEN_FROM:04}"
    assert not flagged[f"drawn-{TAKEN:04}~1"].of_own_source
    assert findings.near_copies.value == pytest.approx(2 / SOURCES)
    assert (findings.copies_of_own_source.detail, findings.copies_of_others.detail) == ({"count": 1}, {"count": 1})
    assert findings.near_copies.low is not None
    assert (findings.stand_in, findings.whole_threshold.n_training) == (True, SOURCES)
    assert "anonym" not in metrics.model_dump_json().lower()
    with session_scope(made.engine) as session:
        (sheet,) = session.exec(select(Artifact).where(Artifact.job_id == job.id)).all()
        assert sheet.name == findings.sheet == "closest-Diff-sample-1.png"
        picture = Image.open(BytesIO(object_store.get_bytes(sheet.digest)))
        assert picture.height > SOURCES * 160
        assert all(session.exec(select(Sample.accepted)).all())
        assert session.get_one(Generation, made.generation_id).counts["accepted"] == SOURCES


def test_where_asked_near_copies_leave_the_set_and_are_counted_by_reason(made: Made, settings: Settings) -> None:
    with session_scope(made.engine) as session:
        unchecked = UUID(session.get_one(Generation, made.generation_id).version_ids["1"])
    job, metrics = evaluated(made, settings, drop_near_copies=True)
    assert metrics.memorisation is not None
    assert metrics.memorisation.dropped
    assert metrics.n_synthetic == SOURCES
    with session_scope(made.engine) as session:
        generation = session.get_one(Generation, made.generation_id)
        rejected = session.exec(select(Pair.position).join(Sample).where(Sample.rejection_reason == "near_copy")).all()
        version = session.get_one(DatasetVersion, UUID(generation.version_ids["1"]))
        assert sorted(rejected) == [GIVEN_BACK, TAKEN]
        assert generation.counts == {"requested": SOURCES, "accepted": SOURCES - 2, "rejected": {"near_copy": 2}}
        assert (version.label, version.pair_count, version.created_by_job_id) == (
            "Diff-sample-1 (checked)",
            SOURCES - 2,
            job.id,
        )
        assert version.provenance["unchecked_version_id"] == str(unchecked)
        assert version.report == generation.counts
        kept = [f"drawn-{place:04}~1" for place in range(SOURCES) if place not in (GIVEN_BACK, TAKEN)]
        assert names_of(session, version.id) == kept
        assert len(names_of(session, unchecked)) == SOURCES  # a version never changes


def test_a_set_of_two_classes_is_measured_like_one_and_each_of_its_versions_names_them(
    made: Made, settings: Settings, engine: Engine, object_store: ObjectStore
) -> None:
    _, plain = evaluated(made, settings, drop_near_copies=True)
    of_classes = Made(engine, object_store, ("polyp", "scar"))
    _, metrics = evaluated(of_classes, settings, drop_near_copies=True)
    assert metrics == plain
    with session_scope(engine) as session:
        versions = session.exec(select(DatasetVersion).where(DatasetVersion.origin == "synthetic")).all()
        assert sorted((v.label, v.class_names) for v in versions) == [
            ("Diff-sample-1", []),
            ("Diff-sample-1", ["polyp", "scar"]),
            ("Diff-sample-1 (checked)", []),
            ("Diff-sample-1 (checked)", ["polyp", "scar"]),
        ]


def test_a_stopped_evaluation_leaves_the_set_as_it_is(made: Made, settings: Settings) -> None:
    made.evaluate_job(drop_near_copies=True)
    assert isinstance(run(context_of(made, settings, stop=True)), Stopped)
    with session_scope(made.engine) as session:
        assert all(session.exec(select(Sample.accepted)).all())


def test_of_a_set_larger_than_is_taken_whole_fid_is_of_all_and_the_rest_of_drawn_pictures(
    made: Made, settings: Settings
) -> None:
    _, whole = evaluated(made, settings, drop_near_copies=False)
    _, large = evaluated(made, settings, drop_near_copies=False, largest_whole_set=6)
    assert (large.n_real, large.n_synthetic, large.fid.n, large.kid.n, large.ms_ssim_real.n) == (10, 10, 10, 6, 6)
    assert large.fid.value == pytest.approx(whole.fid.value, rel=1e-9)
    assert (large.region_fid, whole.region_fid) != (None, None)
    assert large.region_fid.value == pytest.approx(whole.region_fid.value, rel=1e-9)  # type: ignore[union-attr]
    assert large.fid.detail["interval_images"] == 6
    assert large.memorisation is not None
    assert large.memorisation.n == 6
    assert "all 10 real and 10 synthetic pictures" in large.notes[0]
    assert whole.fid.n == whole.kid.n == 10
    assert "interval_images" not in whole.fid.detail


def test_a_large_evaluation_goes_on_after_its_last_shard_and_comes_to_the_same(
    made: Made, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, at_once = evaluated(made, settings, drop_near_copies=False, largest_whole_set=6)
    monkeypatch.setattr(shards, "SHARD_PICTURES", 3)
    hurried = settings.model_copy(update={"slice_seconds": 1e-9})
    job, sliced = evaluated(made, hurried, drop_near_copies=False, largest_whole_set=6)
    assert sliced.fid.value == pytest.approx(at_once.fid.value, rel=1e-9)
    assert sliced.kid == at_once.kid
    with session_scope(made.engine) as session:
        assert session.get_one(Job, job.id).slice_number == 8


def test_halves_of_real_pictures_are_compared_at_their_own_n_also_where_a_set_is_large(
    made: Made, settings: Settings
) -> None:
    _, whole = evaluated(made, settings, drop_near_copies=False)
    _, large = evaluated(made, settings, drop_near_copies=False, largest_whole_set=8)
    for metrics, half in ((whole, 5), (large, 4)):
        for figure in (metrics.real_halves_fid, metrics.matched_fid, metrics.real_halves_kid, metrics.matched_kid):
            assert figure is not None
            assert figure.n == half


def test_near_copies_are_not_left_out_of_a_set_that_is_checked_in_part(made: Made, settings: Settings) -> None:
    made.evaluate_job(drop_near_copies=True, largest_whole_set=6)
    with pytest.raises(TooManyToDropFrom, match="10 samples"):
        run(context_of(made, settings))


def test_sums_of_other_weights_are_not_added_to(object_store: ObjectStore) -> None:
    sums = shards.Sums()
    sums.add("real", Moments.of(np.eye(3)))
    kept = sums.store(object_store, "a stand-in's")
    assert shards.Sums.stored(object_store, kept, "a stand-in's").done() == 3
    assert shards.Sums.stored(object_store, kept, "Inception's").done() == 0
