"""A study whose answer is known before it runs: good samples help, mislabelled ones harm, and the report says so.

The real pairs to train on have labels that are three pixels too wide all around; those of validation and tests are
exact, and so are those of the good samples.

Real workers train every arm on stored pairs; what the arms are and in which order they and the tests are listed must
not change what is said of them.
"""

from uuid import UUID

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from sqlalchemy import Engine
from sqlmodel import Session, select

from segsmith_evaluator.report.facts import DifferenceFacts, Facts
from segsmith_shared.database.generations import close_generation_when_done
from segsmith_shared.database.pairs import pairs_of
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import (
    Artifact,
    Dataset,
    Generation,
    Job,
    JobStatus,
    Model,
    Pair,
    Pipeline,
    Sample,
    SegmentationRun,
)
from segsmith_shared.jobs import plan as job_plan
from segsmith_shared.jobs.bell import ring
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.pipeline import plan_pipeline
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.specs import ArmSpec, NamedPart, PartRef, PipelineSpec, Recipe, SegmentationStudySpec
from segsmith_shared.storage.objects import ObjectStore
from tests.fixtures.drawn_version import NamedPicture, drawn_version, stored_version
from tests.fixtures.engine_room import EngineRoom
from tests.fixtures.planted_samples import planted_sample

pytestmark = pytest.mark.timeout(1500)

SIDE_PX, TRAINING, SAMPLES, SEEDS = 32, 40, 3, 3
QUICK = {"steps": 60, "side_px": SIDE_PX, "validate_every_steps": 15, "lr": 5e-3}
ARMS = (
    ArmSpec(name="8 real", real_limit=8),
    ArmSpec(name="32 real", real_limit=32),
    ArmSpec(name="8 + good", real_limit=8, sets=("Good-3",)),
    ArmSpec(name="32 + mislabelled", real_limit=32, sets=("Mislabelled-3",)),
    ArmSpec(name="good alone", real=False, sets=("Good-3",)),
)
RECIPES = (Recipe(name="Good", strategy="full"), Recipe(name="Mislabelled", strategy="full"))


def widened(place: int) -> NamedPicture:
    image, label = draw_pair(0, place, SIDE_PX)
    return NamedPicture(f"drawn-{place:04}", image, binary_dilation(label, iterations=3).astype(np.uint8))


class Study:
    """Stored pairs and two planted sets, and a pipeline whose segmentation and report jobs run on them."""

    def __init__(self, engine: Engine, objects: ObjectStore) -> None:
        self.engine, self.objects = engine, objects
        self.pairs = PartRef(version_id=stored_version(engine, objects, [widened(place) for place in range(TRAINING)]))
        self.validation = PartRef(version_id=drawn_version(engine, objects, 10, SIDE_PX, seed=5))
        self.tests = tuple(
            NamedPart(name=name, pairs=PartRef(version_id=drawn_version(engine, objects, 24, SIDE_PX, seed=seed)))
            for name, seed in (("first test", 6), ("second test", 7))
        )

    def submit(self, *, backwards: bool) -> UUID:
        step = -1 if backwards else 1
        spec = PipelineSpec(
            name="planted",
            pairs=self.pairs,
            validation=self.validation,
            tests=self.tests[::step],
            recipes=RECIPES,
            evaluation=None,
            segmentation=SegmentationStudySpec(overrides=QUICK, arms=ARMS[::step], seeds=SEEDS),
            allow_stand_ins=True,
        )
        pipeline = Pipeline(name="planted", spec=spec.model_dump(mode="json"))
        plan = plan_pipeline(spec, pipeline.id, TRAINING, 1)
        with session_scope(self.engine) as session:
            session.add(pipeline)
            session.flush()
            for generation in plan.generations:
                self._plant(session, pipeline.id, generation.id, generation.recipe)
            kept = [job for job in plan.jobs if job.kind in {"segment", "report"}]
            ids = {job.id for job in kept}
            jobs = [
                type(job)(**vars(job) | {"needs": tuple(need for need in job.needs if need in ids)}) for job in kept
            ]
            job_plan.submit(session, jobs, pipeline_id=pipeline.id)
        return pipeline.id

    def _plant(self, session: Session, pipeline_id: UUID, generation_id: UUID, recipe: str) -> None:
        preset = preset_named("tiny-cpu").model_dump(mode="json")
        preset["sampling"]["samples_per_source"] = SAMPLES
        dataset, job = Dataset(name=recipe), Job(pipeline_id=pipeline_id, kind="generate", queue="gpu", name=recipe)
        job.status = JobStatus.SUCCEEDED
        model = Model(
            job_id=job.id,
            recipe=recipe,
            preset=preset,
            images_seen=1,
            training_images=TRAINING,
            weights="ema",
            checkpoint_digest="cc" * 32,
        )
        for row in (dataset, job, model):
            session.add(row)
            session.flush()
        generation = Generation(
            id=generation_id,
            pipeline_id=pipeline_id,
            recipe=recipe,
            source_version_id=self.pairs.version_id,
            dataset_id=dataset.id,
            spec={"preset": preset, "source_limit": None},
        )
        session.add(generation)
        session.flush()
        session.add_all(
            self._sample(generation, job, model, source, index)
            for source in pairs_of(session, self.pairs)
            for index in range(1, SAMPLES + 1)
        )
        session.flush()
        close_generation_when_done(session, generation_id, job.id)

    def _sample(self, generation: Generation, job: Job, model: Model, source: Pair, index: int) -> Sample:
        image, label = draw_pair(0, 900 + 100 * index + source.position, SIDE_PX)
        if generation.recipe == "Mislabelled":
            label = np.roll(label, SIDE_PX // 2, axis=(0, 1)) & ~label
        return planted_sample(self.objects, generation.id, job, model, source, image, label, sample_index=index)


def reported(room: EngineRoom, objects: ObjectStore, pipeline_id: UUID) -> tuple[Facts, str]:
    with session_scope(room.engine) as session:
        jobs = session.exec(select(Job).where(Job.pipeline_id == pipeline_id, Job.kind == "report")).one()
    done = room.until_ended(jobs.id, timeout_seconds=700)
    assert done.status == JobStatus.SUCCEEDED, done.problem
    with session_scope(room.engine) as session:
        files = {a.name: a.digest for a in session.exec(select(Artifact).where(Artifact.job_id == done.id))}
    page = objects.get_bytes(files["report.html"]).decode()
    return Facts.model_validate_json(objects.get_bytes(files["report.json"])), page


def difference(facts: Facts, arm: str, test: str) -> DifferenceFacts:
    assert facts.segmentation is not None
    found = facts.segmentation.difference(arm, test, "iou")
    assert found is not None
    return found


def test_the_report_says_which_arm_is_better_and_which_is_worse_in_either_order(
    room: EngineRoom, object_store: ObjectStore
) -> None:
    study = Study(room.engine, object_store)
    room.service("segsmith_worker")
    room.service("segsmith_evaluator")
    pipelines = [study.submit(backwards=backwards) for backwards in (False, True)]
    for queue in ("gpu", "cpu"):
        ring(queue, 100, redis_url=room.environment["REDIS_URL"])
    outcomes = [reported(room, object_store, pipeline_id) for pipeline_id in pipelines]
    for facts, page in outcomes:
        assert facts.segmentation is not None
        for test in ("first test", "second test"):
            helped, harmed = (difference(facts, arm, test) for arm in ("8 + good", "32 + mislabelled"))
            assert (helped.reference, harmed.reference) == ("8 real", "32 real")
            assert helped.estimate.low is not None
            assert helped.estimate.low > 0
            assert harmed.estimate.high is not None
            assert harmed.estimate.high < 0
            assert "“8 + good” is better than “8 real” by" in page
            assert "“32 + mislabelled” is worse than “32 real” by" in page
        assert facts.segmentation.without_reference == ("good alone",)
        assert "No arm trains on as many real pairs alone as good alone" in page
        arms = {arm.name: arm for arm in facts.segmentation.arms}
        assert {name: arm.real_pairs for name, arm in arms.items()} == {
            "8 real": 8,
            "32 real": 32,
            "8 + good": 8,
            "32 + mislabelled": 32,
            "good alone": TRAINING,
        }
        assert {name: arm.training_pairs for name, arm in arms.items()} == {
            "8 real": 8,
            "32 real": 32,
            "8 + good": 8 + 3 * 8,
            "32 + mislabelled": 32 + 3 * 32,
            "good alone": 3 * TRAINING,
        }
        assert facts.validation is not None
        assert facts.validation.n == 10
        assert "32 × 32 px" in page
    # a seed of an arm is the same training in both pipelines, whatever stands beside it
    with session_scope(room.engine) as session:
        runs = session.exec(select(SegmentationRun)).all()
    by_arm: dict[tuple[str, int], list[dict[str, dict[str, float]]]] = {}
    for run in runs:
        by_arm.setdefault((run.arm, run.seed), []).append(run.scores)
        assert len(run.training_manifest["validation"]) == 10
    assert len(by_arm) == len(ARMS) * SEEDS
    assert all(first == second for first, second in by_arm.values())
