"""The judge job: one model of the quality gate, trained in slices on real pairs and scored on those it never saw."""

import numpy as np

from segsmith_shared.database.pairs import pairs_of
from segsmith_shared.database.tables import Judge, Pair
from segsmith_shared.jobs.context import Finished, Outcome, SliceDone, StepContext, Stopped
from segsmith_shared.pairs.splits import Member
from segsmith_shared.plans.segmentation import SegmentationSpec
from segsmith_shared.plans.segmentation import preset_named as segmentation_preset
from segsmith_shared.plans.specs import JudgeJobSpec
from segsmith_shared.randomness import seed_for
from segsmith_shared.storage import checkpoints
from segsmith_shared.storage.pair_arrays import images_of, labels_of, read_squares
from segsmith_shared.versions import code_version
from segsmith_shared.vision.features import Interrupted
from segsmith_worker.device import device_name
from segsmith_worker.segmentation import training
from segsmith_worker.segmentation.arms import Pairs
from segsmith_worker.segmentation.judging import Agreement, agreement_of, folds_of, judge_data
from segsmith_worker.steps.segmentation_state import begun, left_off


def run(context: StepContext) -> Outcome:
    """Resumes bit-equal from the last checkpoint; the best weights by validation IoU become the judge."""
    job = JudgeJobSpec.model_validate(context.spec)
    spec = segmentation_preset(job.preset).with_overrides(job.overrides)
    seed = seed_for(job.seed, "judge", job.fold)
    with context.reading() as session:
        stored = pairs_of(session, job.pairs)
    names = [pair.name for pair in stored]
    squares = read_squares(context.objects, stored, spec.side_px, job.geometry)
    real = Pairs(images_of(squares), labels_of(squares), names, names)
    members = [Member(pair.name, pair.near_duplicate_group) for pair in stored]
    fold_of = folds_of(members, job.folds, job.seed)
    data, manifest = judge_data(real, members, fold_of, job.fold, spec, seed)
    state = begun(context, spec, seed)

    def on_step(report: training.StepReport) -> bool:
        context.progress(report.step, report.steps, "steps", loss=round(report.loss, 5))
        return context.stop_requested() is not None or context.slice_is_over()

    training.train(state, data, spec, on_step=on_step)
    if state.step < spec.steps:
        slice_state = left_off(context, state, kind="judge", fold=job.fold)
        return Stopped(state=slice_state) if context.stop_requested() else SliceDone(state=slice_state)
    places = [place for place, name in enumerate(names) if fold_of[name] == job.fold]
    try:
        found = agreement_of(
            training.best_network(state, spec),
            real.images[places],
            real.labels[places],
            spec,
            on_step=lambda *_: context.stop_requested() is not None,
        )
    except Interrupted:
        return Stopped(state=left_off(context, state, kind="judge", fold=job.fold))
    held_out = [stored[place] for place in places]
    judge = Judge(
        job_id=context.job_id,
        fold=job.fold,
        folds=job.folds,
        parameters=_parameters(job, spec, state, len(data.images), len(data.validation_images)),
        training_manifest=manifest,
        curve=state.curve,
        held_out=_held_out(held_out, found),
        checkpoint_digest=_weights(context, job, state),
    )
    outputs = {"fold": job.fold, "real_pairs": len(places), "real_dice_median": float(np.median(found.dice))}
    return Finished(outputs=outputs, rows=[judge])


def _held_out(pairs: list[Pair], found: Agreement) -> dict[str, dict[str, str | float]]:
    return {
        str(pair.id): {"name": pair.name, "dice": float(dice), "iou": float(iou)}
        for pair, dice, iou in zip(pairs, found.dice, found.iou, strict=True)
    }


def _weights(context: StepContext, job: JudgeJobSpec, state: training.SegmentationState) -> str:
    """The best weights alone: a judge is asked, and never trained again."""
    best = {name: tensor for name, tensor in state.to_tensors().items() if name.startswith("best/")}
    return checkpoints.save(context.objects, best, {"kind": "judge", "fold": job.fold, "step": state.best_step})


def _parameters(
    job: JudgeJobSpec, spec: SegmentationSpec, state: training.SegmentationState, trained: int, validated: int
) -> dict[str, object]:
    return {
        "spec": spec.model_dump(mode="json"),
        "training_pairs": trained,
        "validation_pairs": validated,
        "best_step": state.best_step,
        "best_validation_iou": state.best_iou,
        "seed": state.seed,
        "torch_threads": job.torch_threads,
        "device": device_name(),
        "code_version": code_version(),
    }
