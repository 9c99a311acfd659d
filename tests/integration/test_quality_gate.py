"""The quality gate over real Postgres and S3: labels planted where no lesion is leave the set, and are counted."""

from io import BytesIO
from uuid import UUID, uuid4

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine
from sqlmodel import col, select

from segsmith_shared.database.generations import NEAR_COPY, leave_out
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import Artifact, DatasetVersion, Job, JobKind, JobStatus, Pair, SetJudgement
from segsmith_shared.database.tables import Judge as JudgeRow
from segsmith_shared.jobs import plan, states
from segsmith_shared.jobs.bell import ring
from segsmith_shared.jobs.context import Finished, StepContext, Stopped, StopReason
from segsmith_shared.pairs.agreement import LOW_AGREEMENT, Judgement, NothingPassesTheGate, NothingToJudge
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.splits import Member
from segsmith_shared.plans.pipeline import PlannedJob
from segsmith_shared.plans.segmentation import preset_named
from segsmith_shared.plans.specs import GateJobSpec, JudgeJobSpec, PartRef
from segsmith_shared.settings import Settings
from segsmith_shared.storage import checkpoints
from segsmith_shared.storage.objects import ObjectStore
from segsmith_worker.segmentation.arms import Pairs
from segsmith_worker.segmentation.judging import agreement_of, folds_of, judge_data
from segsmith_worker.segmentation.training import SegmentationState, network_of, train
from segsmith_worker.steps.gate import run
from tests.fixtures.engine_room import EngineRoom
from tests.fixtures.planted_set import SIDE_PX, PlantedSet

SOURCES = 40
PLANTED = (3, 8, 21, 34)
QUICK_JUDGE = {"steps": 100, "validate_every_steps": 25, "lr": 5e-3}
QUANTILE = 0.05


def judge_spec(version_id: UUID, fold: int, **fields: object) -> JudgeJobSpec:
    document = {
        "pairs": PartRef(version_id=version_id),
        "geometry": "squash",
        "preset": "tiny-cpu",
        "overrides": QUICK_JUDGE,
        "fold": fold,
        "folds": 2,
        "seed": 1,
        "torch_threads": 1,
    }
    return JudgeJobSpec.model_validate(document | fields)


def gate_spec(planted: PlantedSet, judge_job_ids: tuple[UUID, ...], quantile: float | None = QUANTILE) -> GateJobSpec:
    return GateJobSpec(
        generation_id=planted.generation_id,
        sample_index=1,
        judge_job_ids=judge_job_ids,
        geometry="squash",
        minimum_agreement_quantile=quantile,
        torch_threads=1,
    )


def submit(room: EngineRoom, planted: PlantedSet, jobs: list[PlannedJob]) -> None:
    with session_scope(room.engine) as session:
        plan.submit(session, jobs, pipeline_id=planted.pipeline_id)
    ring("gpu", len(jobs))


def judge_job(planted: PlantedSet, fold: int, **fields: object) -> PlannedJob:
    return PlannedJob(uuid4(), JobKind.JUDGE, f"judge {fold}", "gpu", judge_spec(planted.version_id, fold, **fields))


def gate_job(planted: PlantedSet, judges: list[PlannedJob]) -> PlannedJob:
    ids = tuple(job.id for job in judges)
    return PlannedJob(uuid4(), JobKind.GATE, "gate Diff-sample-1", "gpu", gate_spec(planted, ids), ids)


def findings_of(planted: PlantedSet) -> Judgement:
    with session_scope(planted.engine) as session:
        return Judgement.model_validate(session.exec(select(SetJudgement)).one().findings)


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_workers_judge_a_set_and_the_gate_drops_what_was_planted(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    planted = PlantedSet(engine, object_store, SOURCES, PLANTED)
    as_made = planted.version()
    judges = [judge_job(planted, fold) for fold in (0, 1)]
    gate = gate_job(planted, judges)
    submit(room, planted, [*judges, gate])
    room.service("tests.fixtures.gate_worker")
    ended = room.until_ended(gate.id, timeout_seconds=240)
    assert ended.status == JobStatus.SUCCEEDED, ended.problem

    findings = findings_of(planted)
    dropped = {pair.name for pair in findings.below}
    assert dropped >= {planted.name_of(place) for place in PLANTED}
    assert len(dropped) <= len(PLANTED) + 4  # of 36 good ones: one in twenty is what the threshold allows for
    assert (ended.progress_done, ended.progress_total, ended.progress_unit) == (SOURCES, SOURCES, "samples")
    assert ended.outputs["dropped"] == len(dropped)
    assert ended.outputs["real_dice_median"] > 0.8

    kept = SOURCES - len(dropped)
    counts = {"requested": SOURCES, "accepted": kept, "rejected": {LOW_AGREEMENT: len(dropped)}}
    assert planted.generation().counts == counts
    judged = planted.version()
    assert (judged.label, judged.pair_count, judged.created_by_job_id) == ("Diff-sample-1 (judged)", kept, gate.id)
    assert judged.provenance["unchecked_version_id"] == str(as_made.id)
    with session_scope(engine) as session:
        names = session.exec(select(Pair.name).where(Pair.version_id == judged.id)).all()
        assert len(session.exec(select(Pair).where(Pair.version_id == as_made.id)).all()) == SOURCES
        sheet = session.exec(select(Artifact).where(Artifact.job_id == gate.id)).one()
    assert not dropped & set(names)
    assert sheet.name == findings.sheet == "agreement-Diff-sample-1.png"
    assert Image.open(BytesIO(object_store.get_bytes(sheet.digest))).height > 12 * 160
    assert_each_was_judged_by_one_that_never_saw_its_source(planted)


def assert_each_was_judged_by_one_that_never_saw_its_source(planted: PlantedSet) -> None:
    judges = {str(judge.id): judge for judge in planted.judges()}
    assert len(judges) == 2
    source_names = {pair.id: pair.name for pair in planted.sources}
    seen = {id_: {*j.training_manifest["train"], *j.training_manifest["validation"]} for id_, j in judges.items()}
    assert all(len(names) == SOURCES // 2 for names in seen.values())
    for sample in planted.samples():
        assert sample.agreement is not None
        assert source_names[sample.source_pair_id] not in seen[sample.agreement["judge_id"]]
        assert sample.accepted == (sample.rejection_reason is None)
        assert 0 <= sample.agreement["iou"] <= sample.agreement["dice"] <= 1
    for id_, judge in judges.items():
        assert {pair["name"] for pair in judge.held_out.values()} == set(source_names.values()) - seen[id_]
        assert judge.parameters["spec"]["steps"] == QUICK_JUDGE["steps"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_judge_that_is_cut_ends_as_the_uncut_one_and_a_cancelled_one_judges_nothing(
    room: EngineRoom, engine: Engine, object_store: ObjectStore
) -> None:
    planted = PlantedSet(engine, object_store, 12, ())
    short = {"overrides": {**QUICK_JUDGE, "steps": 40, "validate_every_steps": 10}}
    cut = judge_job(planted, 0, slice_seconds=0.2, **short)
    submit(room, planted, [cut])
    room.caretaker()
    victim = room.service("tests.fixtures.gate_worker")
    room.until_step(cut.id, 5)
    room.do(states.pause, cut.id)
    assert room.until_status(cut.id, JobStatus.PAUSED).slice_state is not None
    room.do(states.resume, cut.id)
    room.until_step(cut.id, 12)
    victim.kill()
    victim.wait()
    room.service("tests.fixtures.gate_worker")
    assert room.until_ended(cut.id, timeout_seconds=120).status == JobStatus.SUCCEEDED, room.logs()
    uncut = judge_job(planted, 0, slice_seconds=3600, **short)
    submit(room, planted, [uncut])
    room.until_ended(uncut.id, timeout_seconds=120)
    assert room.job(cut.id).slice_number > room.job(uncut.id).slice_number == 0
    one, other = (next(j for j in planted.judges() if j.job_id == job.id) for job in (cut, uncut))
    assert one.checkpoint_digest == other.checkpoint_digest  # objects are named by their content
    assert (one.held_out, one.curve) == (other.held_out, other.curve)

    endless = judge_job(planted, 1, overrides={**QUICK_JUDGE, "steps": 50_000})
    gate = gate_job(planted, [cut, endless])
    submit(room, planted, [endless, gate])
    room.until_step(endless.id, 1)
    room.do(states.cancel, endless.id)
    assert room.until_ended(gate.id).status == JobStatus.CANCELLED
    assert len(planted.judges()) == 2
    assert planted.generation().counts["accepted"] == 12


@pytest.fixture(scope="module")
def able() -> SegmentationState:
    """A judge that learned from drawn pairs which are in no test's set."""
    spec = preset_named("tiny-cpu").with_overrides(QUICK_JUDGE)
    made = [draw_pair(9, index, SIDE_PX) for index in range(40)]
    names = [str(index) for index in range(len(made))]
    pairs = Pairs(
        np.stack([image for image, _ in made]), np.stack([label for _, label in made]).astype(np.uint8), names, names
    )
    members = [Member(name) for name in names]
    data, _ = judge_data(pairs, members, folds_of(members, 2, 0), 0, spec, seed=0)
    return train(SegmentationState.new(spec, 0), data, spec)


class Bench:
    """A planted set before judges that are ready: the gate job alone is to do."""

    def __init__(
        self, engine: Engine, settings: Settings, objects: ObjectStore, able: SegmentationState, *planted: int
    ) -> None:
        self.settings = settings
        self.planted = PlantedSet(engine, objects, SOURCES, planted)
        self.judge_jobs = [self.planted.job("judge", status=JobStatus.SUCCEEDED) for _ in range(2)]
        spec = preset_named("tiny-cpu").with_overrides(QUICK_JUDGE)
        tensors = able.to_tensors()
        made = [draw_pair(0, place, SIDE_PX) for place in range(SOURCES)]
        images, labels = (np.stack(arrays) for arrays in zip(*made, strict=True))
        found = agreement_of(network_of(tensors, spec), images, labels, spec)
        held_out = [
            {"name": pair.name, "dice": float(dice), "iou": float(iou)}
            for pair, dice, iou in zip(self.planted.sources, found.dice, found.iou, strict=True)
        ]
        ids = [str(pair.id) for pair in self.planted.sources]
        for fold, job in enumerate(self.judge_jobs):
            self.planted.store(
                JudgeRow(
                    job_id=job.id,
                    fold=fold,
                    folds=2,
                    parameters={"spec": spec.model_dump(mode="json")},
                    held_out=dict(zip(ids[fold::2], held_out[fold::2], strict=True)),
                    checkpoint_digest=checkpoints.save(objects, tensors, {"kind": "judge"}),
                )
            )

    def gate(self, quantile: float | None = QUANTILE) -> Job:
        """Run the gate job as its worker would; raises what the step raises."""
        context = self.context(quantile)
        outcome = run(context)
        assert isinstance(outcome, Finished)
        with session_scope(self.planted.engine) as session:
            assert states.write_outcome(session, context.claim, outcome) == JobStatus.SUCCEEDED
            return session.get_one(Job, context.job_id)

    def context(self, quantile: float | None = QUANTILE, *, stop: bool = False) -> StepContext:
        spec = gate_spec(self.planted, tuple(job.id for job in self.judge_jobs), quantile)
        self.planted.job("gate", status=JobStatus.QUEUED, spec=spec.model_dump(mode="json"))
        with session_scope(self.planted.engine) as session:
            claim = states.claim(session, "gpu", "test")
        assert claim is not None
        return StepContext(claim, self.settings, self.planted.engine, lambda: StopReason.CANCEL if stop else None)


def test_without_a_quantile_pairs_are_scored_and_nothing_is_dropped(
    engine: Engine, settings: Settings, object_store: ObjectStore, able: SegmentationState
) -> None:
    bench = Bench(engine, settings, object_store, able, *PLANTED)
    before = bench.planted.version()
    bench.gate(quantile=None)
    findings = findings_of(bench.planted)
    lowest = sorted(findings.samples, key=lambda pair: pair.dice)[: len(PLANTED)]
    assert {pair.name for pair in lowest} == {bench.planted.name_of(place) for place in PLANTED}
    assert (findings.threshold, findings.below) == (None, ())
    assert bench.planted.version().id == before.id
    assert bench.planted.generation().counts["accepted"] == SOURCES
    assert all(sample.agreement for sample in bench.planted.samples())


def test_a_higher_quantile_drops_more(
    engine: Engine, settings: Settings, object_store: ObjectStore, able: SegmentationState
) -> None:
    bench = Bench(engine, settings, object_store, able, *PLANTED)
    bench.gate(quantile=0.5)
    rejected = bench.planted.generation().counts["rejected"][LOW_AGREEMENT]
    assert len(PLANTED) + 6 < rejected < SOURCES


def test_copies_and_misfits_are_both_left_out_and_counted_by_reason(
    engine: Engine, settings: Settings, object_store: ObjectStore, able: SegmentationState
) -> None:
    bench = Bench(engine, settings, object_store, able, *PLANTED)
    planted, copy = bench.planted, 30
    as_made = planted.version()
    with session_scope(engine) as session:
        leave_out(
            session,
            generation_id=planted.generation_id,
            sample_index=1,
            sample_ids=[planted.samples()[copy].id],
            reason=NEAR_COPY,
            job_id=bench.judge_jobs[0].id,
        )
    checked = planted.version()
    bench.gate()
    rejected = planted.generation().counts["rejected"]
    assert rejected[NEAR_COPY] == 1
    assert len(PLANTED) <= rejected[LOW_AGREEMENT] <= len(PLANTED) + 4
    judged = planted.version()
    assert [checked.label, judged.label] == ["Diff-sample-1 (checked)", "Diff-sample-1 (checked, judged)"]
    assert judged.provenance["unchecked_version_id"] == str(as_made.id)
    assert judged.pair_count == SOURCES - rejected[NEAR_COPY] - rejected[LOW_AGREEMENT]
    assert judged.report == planted.generation().counts
    assert planted.name_of(copy) not in {pair.name for pair in findings_of(planted).samples}


def test_a_gate_that_would_drop_everything_says_so_and_drops_nothing(
    engine: Engine, settings: Settings, object_store: ObjectStore, able: SegmentationState
) -> None:
    bench = Bench(engine, settings, object_store, able, *range(SOURCES))
    before = bench.planted.version()
    context = bench.context()
    with pytest.raises(NothingPassesTheGate, match=f"All {SOURCES} samples of Diff-sample-1 lie below") as refused:
        run(context)
    assert "agreement-Diff-sample-1.png" in refused.value.hint
    with session_scope(engine) as session:
        shown = session.exec(select(Artifact.name).where(Artifact.job_id == context.job_id)).all()
        versions = session.exec(
            select(DatasetVersion).where(col(DatasetVersion.label).startswith("Diff-sample-1"))
        ).all()
    assert shown == ["agreement-Diff-sample-1.png"]
    assert [version.id for version in versions] == [before.id]
    assert bench.planted.generation().counts["accepted"] == SOURCES


def test_a_set_without_an_accepted_sample_cannot_be_judged(
    engine: Engine, settings: Settings, object_store: ObjectStore, able: SegmentationState
) -> None:
    bench = Bench(engine, settings, object_store, able)
    for sample in bench.planted.samples():
        sample.accepted = False
        bench.planted.store(sample)
    with pytest.raises(NothingToJudge, match="Diff-sample-1"):
        run(bench.context())


def test_a_stopped_gate_leaves_the_set_as_it_is(
    engine: Engine, settings: Settings, object_store: ObjectStore, able: SegmentationState
) -> None:
    bench = Bench(engine, settings, object_store, able, *PLANTED)
    assert isinstance(run(bench.context(stop=True)), Stopped)
    assert all(sample.accepted and sample.agreement is None for sample in bench.planted.samples())
