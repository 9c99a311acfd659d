"""The judge job: one model of the quality gate, trained in slices on real pairs and scored on those it never saw."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from segsmith_shared.database.pairs import class_names_of, pairs_of
from segsmith_shared.database.tables import Judge, Pair
from segsmith_shared.jobs.context import Finished, Outcome, SliceDone, StepContext, Stopped
from segsmith_shared.pairs.classes import classes_of
from segsmith_shared.pairs.splits import Member
from segsmith_shared.plans.segmentation import SegmentationSpec
from segsmith_shared.plans.segmentation import preset_named as segmentation_preset
from segsmith_shared.plans.specs import JudgeJobSpec
from segsmith_shared.randomness import seed_for
from segsmith_shared.storage import checkpoints
from segsmith_shared.storage.pair_arrays import class_maps_of, images_of, read_squares
from segsmith_shared.versions import code_version
from segsmith_shared.vision.features import Interrupted
from segsmith_worker.device import device_name
from segsmith_worker.segmentation import training
from segsmith_worker.segmentation.arms import Images, Labels, Pairs, SegmentationData
from segsmith_worker.segmentation.judging import Agreement, agreement_of, folds_of, judge_data
from segsmith_worker.steps.segmentation_state import EncoderFacts, begun, left_off


@dataclass(frozen=True)
class Lesson:
    """What a judge learns from, and the real pairs of its fold, which it never sees until it is scored on them."""

    data: SegmentationData
    manifest: dict[str, Any]
    held_out: list[Pair]
    held_out_images: Images
    held_out_labels: Labels
    classes: int


def run(context: StepContext) -> Outcome:
    """Resumes bit-equal from the last checkpoint; the best weights by validation IoU become the judge."""
    job = JudgeJobSpec.model_validate(context.spec)
    spec = segmentation_preset(job.preset).with_overrides(job.overrides)
    seed = seed_for(job.seed, "judge", job.fold)
    lesson = _lesson(context, job, spec, seed)
    spec = spec.for_pairs(len(lesson.data.draws))
    state, encoder = begun(context, spec, seed, lesson.classes, allow_stand_ins=job.allow_stand_ins)

    def on_step(report: training.StepReport) -> bool:
        context.progress(report.step, report.steps, "steps", loss=round(report.loss, 5))
        return context.stop_requested() is not None or context.slice_is_over()

    training.train(state, lesson.data, spec, on_step=on_step)
    if state.step < spec.steps:
        slice_state = left_off(context, state, encoder, kind="judge", fold=job.fold)
        return Stopped(state=slice_state) if context.stop_requested() else SliceDone(state=slice_state)
    network = training.best_network(state, spec)
    try:
        found = agreement_of(
            network,
            lesson.held_out_images,
            lesson.held_out_labels,
            spec,
            on_step=lambda *_: context.stop_requested() is not None,
        )
    except Interrupted:
        return Stopped(state=left_off(context, state, encoder, kind="judge", fold=job.fold))
    outputs = {"fold": job.fold, "real_pairs": len(found.dice), "real_dice_median": float(np.median(found.dice))}
    return Finished(outputs=outputs, rows=[_judge_row(context, job, spec, state, encoder, lesson, found)])


def _lesson(context: StepContext, job: JudgeJobSpec, spec: SegmentationSpec, seed: int) -> Lesson:
    with context.reading() as session:
        stored, classes = pairs_of(session, job.pairs), classes_of(class_names_of(session, job.pairs))
    names = [pair.name for pair in stored]
    squares = read_squares(context.objects, stored, spec.side_px, job.geometry, classes)
    real = Pairs(images_of(squares), class_maps_of(squares), names, names)
    members = [Member(pair.name, pair.near_duplicate_group) for pair in stored]
    fold_of = folds_of(members, job.folds, job.seed)
    data, manifest = judge_data(real, members, fold_of, job.fold, spec, seed)
    places = [place for place, name in enumerate(names) if fold_of[name] == job.fold]
    held_out = [stored[place] for place in places]
    return Lesson(data, manifest, held_out, real.images[places], real.labels[places], classes)


def _judge_row(
    context: StepContext,
    job: JudgeJobSpec,
    spec: SegmentationSpec,
    state: training.SegmentationState,
    encoder: EncoderFacts,
    lesson: Lesson,
    found: Agreement,
) -> Judge:
    return Judge(
        job_id=context.job_id,
        fold=job.fold,
        folds=job.folds,
        parameters={
            "spec": spec.model_dump(mode="json"),
            **encoder,
            "training_pairs": len(lesson.data.images),
            "validation_pairs": len(lesson.data.validation_images),
            "best_step": state.best_step,
            "best_validation_iou": state.best_iou,
            "seed": state.seed,
            "torch_threads": job.torch_threads,
            "device": device_name(),
            "code_version": code_version(),
        },
        training_manifest=lesson.manifest,
        curve=state.curve,
        held_out=_held_out(lesson.held_out, found),
        checkpoint_digest=_weights(context, job, state),
    )


def _held_out(pairs: list[Pair], found: Agreement) -> dict[str, dict[str, str | float]]:
    return {
        str(pair.id): {"name": pair.name, "dice": float(dice), "iou": float(iou)}
        for pair, dice, iou in zip(pairs, found.dice, found.iou, strict=True)
    }


def _weights(context: StepContext, job: JudgeJobSpec, state: training.SegmentationState) -> str:
    """The best weights alone: a judge is asked, and never trained again."""
    best = {name: tensor for name, tensor in state.to_tensors().items() if name.startswith("best/")}
    return checkpoints.save(context.objects, best, {"kind": "judge", "fold": job.fold, "step": state.best_step})
