"""The segment job: one segmentation model of one arm and seed, trained in slices and scored on every test set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlmodel import Session, col, select

from segsmith_shared.database.pairs import class_names_of, pairs_of
from segsmith_shared.database.tables import Pair as StoredPair
from segsmith_shared.database.tables import Sample, SegmentationRun
from segsmith_shared.jobs.context import Finished, Outcome, SliceDone, StepContext, Stopped
from segsmith_shared.pairs.classes import classes_of
from segsmith_shared.plans.segmentation import SegmentationSpec
from segsmith_shared.plans.segmentation import preset_named as segmentation_preset
from segsmith_shared.plans.specs import SegmentJobSpec
from segsmith_shared.problems import Conflict
from segsmith_shared.storage import checkpoints
from segsmith_shared.storage.pair_arrays import class_maps_of, images_of, read_squares
from segsmith_shared.vision.features import Interrupted
from segsmith_worker.segmentation import training
from segsmith_worker.segmentation.arms import Pairs, SegmentationData, prepare_arm
from segsmith_worker.segmentation.scores import score
from segsmith_worker.steps.segmentation_state import EncoderFacts, begun


@dataclass(frozen=True)
class StoredArm:
    """The rows an arm reads: real pairs to train on and to validate with, per set its samples and their sources.

    All have the classes of the real pairs; no name where there is only one.
    """

    real: Sequence[StoredPair]
    validation: Sequence[StoredPair]
    sets: dict[str, list[tuple[Sample, str]]]
    tests: dict[str, list[StoredPair]]
    class_names: list[str]

    @property
    def classes(self) -> int:
        return classes_of(self.class_names)


def run(context: StepContext) -> Outcome:
    """Resumes bit-equal from the last checkpoint; the best weights by validation IoU are scored."""
    job = SegmentJobSpec.model_validate(context.spec)
    spec = segmentation_preset(job.preset).with_overrides(job.overrides)
    with context.reading() as session:
        stored = _stored_arm(session, job)
    data, manifest = _arm_data(context, job, spec, stored)
    spec = spec.for_pairs(len(data.draws))
    state, encoder = begun(context, spec, job.seed, stored.classes, allow_stand_ins=job.allow_stand_ins)

    def on_step(report: training.StepReport) -> bool:
        context.progress(report.step, report.steps, "steps", loss=round(report.loss, 5))
        return context.stop_requested() is not None or context.slice_is_over()

    training.train(state, data, spec, on_step=on_step)
    if state.step < spec.steps:
        slice_state = {"checkpoint": _checkpoint(context, job, state, encoder)}
        return Stopped(state=slice_state) if context.stop_requested() else SliceDone(state=slice_state)
    try:
        scores = _scores(context, job, spec, state, stored)
    except Interrupted:
        return Stopped(state={"checkpoint": _checkpoint(context, job, state, encoder)})
    row = _run_row(context, job, spec, state, encoder, data, manifest, scores)
    return Finished(outputs={"scores": scores}, rows=[row])


def _stored_arm(session: Session, job: SegmentJobSpec) -> StoredArm:
    sets = {}
    for label, (generation_id, index) in job.sets.items():
        query = (
            select(Sample, StoredPair.name)
            .join(StoredPair, col(Sample.source_pair_id) == col(StoredPair.id))
            .where(Sample.generation_id == generation_id, Sample.sample_index == index, col(Sample.accepted))
            .order_by(col(StoredPair.position))
        )
        sets[label] = [(sample, name) for sample, name in session.exec(query)]
    tests = {test.name: pairs_of(session, test.pairs) for test in job.tests}
    if job.validation is None:
        raise Conflict(
            "The job names no validation pairs: it was submitted to an older version.", hint="Submit it again."
        )
    validation = pairs_of(session, job.validation)
    return StoredArm(pairs_of(session, job.pairs), validation, sets, tests, class_names_of(session, job.pairs))


def _arm_data(
    context: StepContext, job: SegmentJobSpec, spec: SegmentationSpec, stored: StoredArm
) -> tuple[SegmentationData, dict[str, Any]]:
    def read(rows: Sequence[StoredPair | Sample], sources: Sequence[str], names: Sequence[str]) -> Pairs:
        squares = read_squares(context.objects, rows, spec.side_px, job.geometry, stored.classes)
        return Pairs(images_of(squares), class_maps_of(squares), sources, names)

    real, validation = (
        read(rows, [row.name for row in rows], [row.name for row in rows]) for rows in (stored.real, stored.validation)
    )
    sets = []
    for label, samples in stored.sets.items():
        sources = [name for _, name in samples]
        sets.append(read([sample for sample, _ in samples], sources, [f"{label}/{source}" for source in sources]))
    return prepare_arm(
        real,
        sets,
        validation,
        use_real=job.arm.real,
        real_limit=job.arm.real_limit,
        policy=job.policy,
        seed=job.seed,
    )


def _checkpoint(
    context: StepContext, job: SegmentJobSpec, state: training.SegmentationState, encoder: EncoderFacts
) -> str:
    manifest = {
        "kind": "segmentation",
        "arm": job.arm.name,
        "seed": job.seed,
        "step": state.step,
        "encoder": encoder,
    }
    return checkpoints.save(context.objects, state.to_tensors(), manifest)


def _scores(
    context: StepContext,
    job: SegmentJobSpec,
    spec: SegmentationSpec,
    state: training.SegmentationState,
    stored: StoredArm,
) -> dict[str, dict[str, float]]:
    """Test set -> metric -> value, under the metrics' exact names (science §7)."""
    network = training.best_network(state, spec)
    scores = {}
    for name, pairs in stored.tests.items():
        squares = read_squares(context.objects, pairs, spec.side_px, job.geometry, stored.classes)
        probabilities = training.predict(
            network, images_of(squares), spec, on_step=lambda *_: context.stop_requested() is not None
        )
        had_lesion = np.array([pair.lesion_fraction > 0 for pair in pairs])
        scored = score(probabilities, class_maps_of(squares), stored.class_names, had_lesion=had_lesion)
        scores[name] = scored.figures()
    return scores


def _run_row(
    context: StepContext,
    job: SegmentJobSpec,
    spec: SegmentationSpec,
    state: training.SegmentationState,
    encoder: EncoderFacts,
    data: SegmentationData,
    manifest: dict[str, Any],
    scores: dict[str, dict[str, float]],
) -> SegmentationRun:
    return SegmentationRun(
        job_id=context.job_id,
        pipeline_id=context.pipeline_id,
        arm=job.arm.name,
        seed=job.seed,
        parameters=spec.model_dump(mode="json")
        | encoder
        | {
            "training_pairs": len(data.images),
            "validation_pairs": len(data.validation_images),
            "best_step": state.best_step,
            "best_validation_iou": state.best_iou,
        },
        training_manifest=manifest,
        curve=state.curve,
        scores=scores,
        checkpoint_digest=_checkpoint(context, job, state, encoder),
    )
