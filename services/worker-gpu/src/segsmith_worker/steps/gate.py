"""The gate job: the samples of one set before judges that never saw their sources, and what is dropped of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlmodel import Session, col, select

from segsmith_shared.database.among import among
from segsmith_shared.database.generations import (
    accepted_samples,
    leave_out,
    set_version_id,
    store_agreements,
)
from segsmith_shared.database.tables import DatasetVersion, Generation, Judge, Pair, Sample, SetJudgement
from segsmith_shared.jobs.context import Finished, Outcome, StepContext, Stopped
from segsmith_shared.pairs.agreement import (
    LOW_AGREEMENT,
    Judgement,
    NothingPassesTheGate,
    NothingToJudge,
    PairAgreement,
    threshold_of,
)
from segsmith_shared.pairs.classes import classes_of
from segsmith_shared.pairs.pair import ByteArray
from segsmith_shared.plans.segmentation import SegmentationSpec
from segsmith_shared.plans.specs import GateJobSpec
from segsmith_shared.plans.synthetic_sets import sample_set_name
from segsmith_shared.problems import Conflict, NotFound
from segsmith_shared.storage import checkpoints
from segsmith_shared.storage.pair_arrays import class_maps_of, images_of, read_squares
from segsmith_shared.vision.features import Interrupted
from segsmith_worker.segmentation import training
from segsmith_worker.segmentation.judging import agreement_of
from segsmith_worker.steps.agreement_sheet import agreement_sheet, name_of_sheet

WEAK_DICE = 0.7
"""Judges whose median Dice with unseen real pairs is lower cannot tell much; the notes say so."""


@dataclass(frozen=True)
class StoredSet:
    """The accepted samples of a set with the names of their sources, and the judges by fold."""

    label: str
    version_id: UUID
    classes: int
    samples: list[Sample]
    names: dict[UUID, str]
    judges: list[Judge]

    @property
    def fold_of(self) -> dict[UUID, int]:
        """The fold of each real pair: the one whose judge did not see it."""
        return {UUID(pair_id): judge.fold for judge in self.judges for pair_id in judge.held_out}


@dataclass(frozen=True)
class Judged:
    """A sample, what was found of it, and what its judge sees, a class map uint8 (H, W) at the judge's side."""

    sample: Sample
    found: PairAgreement
    judge_id: UUID
    prediction: ByteArray


def run(context: StepContext) -> Outcome:
    """One slice; nothing is written unless the whole set was judged. Raises NothingToJudge, NothingPassesTheGate."""
    job = GateJobSpec.model_validate(context.spec)
    with context.reading() as session:
        stored = _stored_set(session, job)
    try:
        judged = _judged(context, job, stored)
    except Interrupted:
        return Stopped(state={})
    findings = _findings(job, stored, judged)
    lowest = sorted(judged, key=lambda each: each.found.dice)
    shown = [(each.sample, each.found, each.prediction) for each in lowest]
    sheet = agreement_sheet(context.objects, shown, findings.threshold, stored.classes)
    if len(findings.below) == len(judged):
        context.preview(name_of_sheet(stored.label), sheet, "image/png")
        raise _nothing_passes(stored.label, findings)
    return _finished(context, job, stored, judged, findings, sheet)


def _finished(
    context: StepContext,
    job: GateJobSpec,
    stored: StoredSet,
    judged: Sequence[Judged],
    findings: Judgement,
    sheet: bytes,
) -> Finished:
    digest = context.objects.put_bytes(sheet, "image/png")
    row = SetJudgement(
        job_id=context.job_id,
        synthetic_version_id=stored.version_id,
        label=stored.label,
        findings=findings.model_dump(mode="json"),
    )
    below = {pair.name for pair in findings.below}
    dropped = [each.sample.id for each in judged if each.found.name in below]
    return Finished(
        outputs=_outputs(stored.label, findings),
        rows=[row],
        artifacts=[(name_of_sheet(stored.label), "image/png", digest, len(sheet))],
        in_transaction=_close(context, job, judged, dropped),
    )


def _stored_set(session: Session, job: GateJobSpec) -> StoredSet:
    generation = session.get(Generation, job.generation_id)
    if generation is None:
        raise NotFound(f"There is no generation {job.generation_id}.")
    label = sample_set_name(generation.recipe, job.sample_index)
    version_id = set_version_id(generation, job.sample_index)
    samples = accepted_samples(session, generation.id, job.sample_index)
    if not samples:
        raise NothingToJudge(
            f"{label} holds no accepted sample.",
            hint="Look at the rejected samples of the set; a longer training may help.",
        )
    judges = session.exec(select(Judge).where(col(Judge.job_id).in_(job.judge_job_ids)).order_by(col(Judge.fold))).all()
    if len(judges) != len(job.judge_job_ids):
        raise Conflict(f"{len(judges)} of {len(job.judge_job_ids)} judges are ready.", hint="Retry the judge jobs.")
    sources = {sample.source_pair_id for sample in samples}
    names = dict(session.exec(select(Pair.id, Pair.name).where(among(col(Pair.id), sources))).all())
    classes = classes_of(session.get_one(DatasetVersion, generation.source_version_id).class_names)
    return StoredSet(label, version_id, classes, samples, names, list(judges))


def _judged(context: StepContext, job: GateJobSpec, stored: StoredSet) -> list[Judged]:
    """Every sample before the judge of its source's fold, in the order of the sources. Raises Interrupted."""
    fold_of = stored.fold_of
    judged: dict[UUID, Judged] = {}
    for judge in stored.judges:
        samples = [sample for sample in stored.samples if fold_of[sample.source_pair_id] == judge.fold]
        on_step = _on_step(context, len(judged), len(stored.samples))
        judged |= {each.sample.id: each for each in _before(context, job, judge, samples, stored, on_step)}
    return [judged[sample.id] for sample in stored.samples]


def _before(
    context: StepContext,
    job: GateJobSpec,
    judge: Judge,
    samples: Sequence[Sample],
    stored: StoredSet,
    on_step: Callable[[int, int], bool],
) -> Iterator[Judged]:
    spec = SegmentationSpec.model_validate(judge.parameters["spec"])
    tensors, _ = checkpoints.load(context.objects, judge.checkpoint_digest)
    squares = read_squares(context.objects, samples, spec.side_px, job.geometry, stored.classes)
    network = training.network_of(tensors, spec)
    found = agreement_of(network, images_of(squares), class_maps_of(squares), spec, on_step)
    for place, sample in enumerate(samples):
        yield Judged(
            sample,
            PairAgreement(
                name=f"{stored.names[sample.source_pair_id]}~{sample.sample_index}",
                fold=judge.fold,
                dice=float(found.dice[place]),
                iou=float(found.iou[place]),
            ),
            judge.id,
            found.predictions[place],
        )


def _on_step(context: StepContext, before: int, total: int) -> Callable[[int, int], bool]:
    def on_step(done: int, _of_fold: int) -> bool:
        context.progress(min(total, before + done), total, "samples")
        return context.stop_requested() is not None

    return on_step


def _findings(job: GateJobSpec, stored: StoredSet, judged: Sequence[Judged]) -> Judgement:
    real = [
        PairAgreement(name=pair["name"], fold=judge.fold, dice=pair["dice"], iou=pair["iou"])
        for judge in stored.judges
        for pair in judge.held_out.values()
    ]
    quantile = job.minimum_agreement_quantile
    threshold = None if quantile is None else threshold_of([pair.dice for pair in real], quantile)
    spec = SegmentationSpec.model_validate(stored.judges[0].parameters["spec"])
    return Judgement(
        samples=tuple(each.found for each in judged),
        real=tuple(sorted(real, key=lambda pair: pair.name)),
        folds=len(stored.judges),
        preset=spec.preset,
        side_px=spec.side_px,
        stand_in=spec.encoder_weights is None or any(judge.parameters["encoder_stand_in"] for judge in stored.judges),
        quantile=quantile,
        threshold=threshold,
        sheet=name_of_sheet(stored.label),
        notes=tuple(_notes(spec, real, threshold)),
    )


def _notes(spec: SegmentationSpec, real: Sequence[PairAgreement], threshold: float | None) -> Iterator[str]:
    yield (
        "Agreement says that a label lies where a model of real pairs would put it. It does not say that the picture "
        "is realistic or new, and a rare but right lesion may agree little: look at what was dropped."
    )
    yield (
        "A judge never saw a sample's source. The diffusion model was trained on all sources, also those that the "
        "judge learned from: a copy of one of them agrees well, and is the copy check's to find."
    )
    median = float(np.median([pair.dice for pair in real]))
    if median < WEAK_DICE:
        yield (
            f"These judges are weak: with real pairs that they never saw they agree at a median Dice of {median:.2f}. "
            "What they say of samples is no surer than that; a larger preset or more pairs make better ones."
        )
    if threshold == 0:
        yield (
            "The threshold is 0, because the judges miss the lesion of so many real pairs entirely: nothing lies "
            "below. Take a larger preset or a higher minimum_agreement_quantile."
        )
    if spec.encoder_weights is None:
        yield "The judges' encoders started from random weights, not from ImageNet's."


def _nothing_passes(label: str, findings: Judgement) -> NothingPassesTheGate:
    dice = [pair.dice for pair in findings.samples]
    real = float(np.median([pair.dice for pair in findings.real]))
    return NothingPassesTheGate(
        f"All {len(dice)} samples of {label} lie below a Dice of {findings.threshold:.3f}, the {findings.quantile:g} "
        f"quantile of real pairs; their highest is {max(dice):.3f}, real pairs have a median of {real:.3f}.",
        hint=f"See {name_of_sheet(label)} of this job. Train the diffusion model longer, or lower "
        "minimum_agreement_quantile; null only scores.",
    )


def _outputs(label: str, findings: Judgement) -> dict[str, object]:
    return {
        "label": label,
        "dice_median": float(np.median([pair.dice for pair in findings.samples])),
        "real_dice_median": float(np.median([pair.dice for pair in findings.real])),
        "threshold": findings.threshold,
        "dropped": len(findings.below),
        "stand_in": findings.stand_in,
    }


def _close(
    context: StepContext, job: GateJobSpec, judged: Sequence[Judged], dropped: Sequence[UUID]
) -> Callable[[Session], None]:
    """What writes the agreement of each sample, and closes the set again, in the transaction that finishes the job."""
    documents = {
        each.sample.id: {**each.found.model_dump(exclude={"name"}), "judge_id": str(each.judge_id)} for each in judged
    }

    def close(session: Session) -> None:
        store_agreements(session, documents)
        if job.minimum_agreement_quantile is not None:
            leave_out(
                session,
                generation_id=job.generation_id,
                sample_index=job.sample_index,
                sample_ids=dropped,
                reason=LOW_AGREEMENT,
                job_id=context.job_id,
            )

    return close
