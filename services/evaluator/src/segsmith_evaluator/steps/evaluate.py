"""The evaluate job: one synthetic set against the real pairs it was drawn from, and these against each other."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from sqlmodel import Session

from segsmith_evaluator.metrics.evaluate_set import MetricOptions, SetMetrics, evaluate_set, of_all_pictures
from segsmith_evaluator.steps.copy_check import CheckedSet, CopyCheckInputs, checked_set, name_of_sheet
from segsmith_evaluator.steps.shards import Sums, Walk, read_regions
from segsmith_shared.database.generations import (
    NEAR_COPY,
    count_accepted,
    drawn_samples,
    leave_out,
    regions_by_source,
    set_version_id,
)
from segsmith_shared.database.pairs import count_pairs, drawn_pairs
from segsmith_shared.database.tables import DatasetVersion, Evaluation, Generation, Pair, Sample
from segsmith_shared.jobs.context import Finished, Outcome, SliceDone, StepContext, Stopped
from segsmith_shared.pairs.classes import classes_of
from segsmith_shared.pairs.pair import BoolArray
from segsmith_shared.plans.pipeline import TooManyToDropFrom
from segsmith_shared.plans.presets import SamplingSpec, draws_from_negatives
from segsmith_shared.plans.specs import EvaluateJobSpec
from segsmith_shared.plans.synthetic_sets import sample_set_name
from segsmith_shared.problems import NotFound
from segsmith_shared.randomness import seed_for
from segsmith_shared.storage.pair_arrays import images_of, read_squares
from segsmith_shared.vision.features import FeatureExtractor, Interrupted, RememberingExtractor, extractor_for


@dataclass(frozen=True)
class StoredSets:
    """The rows an evaluation reads, and the version the set was closed as.

    Of larger sets than the evaluation takes whole, `real` and `samples` are drawn; the counts are of all. Where
    `lesions_only`, pictures without a lesion could not be sources, and are not what samples are compared with.
    """

    generation: Generation
    version_id: UUID
    real: list[Pair]
    samples: list[Sample]
    classes: int
    real_count: int
    sample_count: int
    lesions_only: bool

    @property
    def side_px(self) -> int:
        return int(self.generation.spec["preset"]["network"]["side_px"])

    @property
    def are_whole(self) -> bool:
        return (len(self.real), len(self.samples)) == (self.real_count, self.sample_count)


def run(context: StepContext) -> Outcome:
    """Both sides are compared at the model's side, so that resizing flatters neither.

    One slice, unless a set is larger than `largest_whole_set`: then slices first sum up the features of all pictures.
    Raises TooManyToDropFrom.
    """
    spec = EvaluateJobSpec.model_validate(context.spec)
    with context.reading() as session:
        stored = _stored_sets(session, spec)
    if spec.drop_near_copies and not stored.are_whole:
        raise TooManyToDropFrom(
            f"The set has {stored.sample_count:,} samples and the version {stored.real_count:,} pairs, of which "
            f"{len(stored.samples):,} and {len(stored.real):,} would be checked.",
            hint="Evaluate without drop_near_copies, raise largest_whole_set, or make smaller sets.",
        )
    label = sample_set_name(stored.generation.recipe, spec.sample_index)
    extractor = extractor_for(context.engine, context.objects, allow_stand_in=spec.allow_stand_ins)
    sums = Sums.stored(context.objects, context.slice_state, extractor.digest)
    if not stored.are_whole and not _walk(context, spec, stored, extractor).sum_up(sums):
        state = sums.store(context.objects, extractor.digest)
        return Stopped(state=state) if context.stop_requested() else SliceDone(state=state)
    try:
        metrics, checked = _measured(context, spec, stored, label, RememberingExtractor(extractor))
    except Interrupted:
        return Stopped(state=sums.store(context.objects, extractor.digest) if sums.moments else {})
    if not stored.are_whole:
        metrics = of_all_pictures(metrics, sums.whole_sets())
    row = Evaluation(
        job_id=context.job_id,
        real_version_id=spec.pairs.version_id,
        synthetic_version_id=stored.version_id,
        label=label,
        metrics=metrics.model_dump(mode="json"),
    )
    sheet = context.objects.put_bytes(checked.sheet, "image/png")
    return Finished(
        outputs={
            "label": label,
            "fid": metrics.fid.value,
            "kid": metrics.kid.value,
            "stand_in": metrics.stand_in,
            "near_copies": len(checked.near_copies),
        },
        rows=[row],
        artifacts=[(name_of_sheet(label), "image/png", sheet, len(checked.sheet))],
        in_transaction=_leave_out(context, spec, checked) if spec.drop_near_copies else None,
    )


def _leave_out(context: StepContext, spec: EvaluateJobSpec, checked: CheckedSet) -> Callable[[Session], None]:
    """What closes the set again, without its near-copies, in the transaction that finishes the job."""
    return partial(
        leave_out,
        generation_id=spec.generation_id,
        sample_index=spec.sample_index,
        sample_ids=checked.near_copies,
        reason=NEAR_COPY,
        job_id=context.job_id,
    )


def _stored_sets(session: Session, spec: EvaluateJobSpec) -> StoredSets:
    generation = session.get(Generation, spec.generation_id)
    if generation is None:
        raise NotFound(f"There is no generation {spec.generation_id}.")
    version_id = set_version_id(generation, spec.sample_index)
    lesions_only = not draws_from_negatives(_sampling_of(generation))
    most, seed = spec.evaluation.largest_whole_set, seed_for(spec.seed, "evaluated-pictures")
    samples = drawn_samples(session, generation.id, spec.sample_index, most, seed)
    sources = [sample.source_pair_id for sample in samples]
    return StoredSets(
        generation,
        version_id,
        real=drawn_pairs(session, spec.pairs, most, seed, first=sources, lesions_only=lesions_only),
        samples=samples,
        classes=classes_of(session.get_one(DatasetVersion, generation.source_version_id).class_names),
        real_count=count_pairs(session, spec.pairs, lesions_only=lesions_only),
        lesions_only=lesions_only,
        sample_count=count_accepted(session, generation.id, spec.sample_index),
    )


def _walk(context: StepContext, spec: EvaluateJobSpec, stored: StoredSets, extractor: FeatureExtractor) -> Walk:
    total = stored.real_count + stored.sample_count
    crop_side_px = MetricOptions().region_side_px
    return Walk(context, spec, extractor, stored.side_px, crop_side_px, total, stored.lesions_only)


def _measured(
    context: StepContext, spec: EvaluateJobSpec, stored: StoredSets, label: str, extractor: FeatureExtractor
) -> tuple[SetMetrics, CheckedSet]:
    real, synthetic = (
        read_squares(context.objects, pairs, stored.side_px, spec.geometry, stored.classes)
        for pairs in (stored.real, stored.samples)
    )
    regions = read_regions(context.objects, [sample.region_digest for sample in stored.samples], stored.side_px)

    def on_step(stage: str, done: int, total: int) -> bool:
        context.progress(done, total, stage)
        return context.stop_requested() is not None

    metrics = evaluate_set(
        images_of(real),
        images_of(synthetic),
        extractor,
        seed=spec.seed,
        real_regions=_regions_of_sources(context, spec, stored),
        synthetic_regions=regions,
        groups=[pair.near_duplicate_group for pair in stored.real],
        options=MetricOptions(
            ms_ssim_pairs=spec.evaluation.ms_ssim_pairs, bootstrap_samples=spec.evaluation.bootstrap_samples
        ),
        on_step=on_step,
    )
    inputs = CopyCheckInputs(stored.samples, synthetic, regions, stored.real, real, _sampling_of(stored.generation))
    checked = checked_set(inputs, label, extractor, dropped=spec.drop_near_copies, on_step=on_step)
    return metrics.model_copy(update={"memorisation": checked.findings}), checked


def _sampling_of(generation: Generation) -> SamplingSpec:
    return SamplingSpec.model_validate(generation.spec["preset"]["sampling"])


def _regions_of_sources(context: StepContext, spec: EvaluateJobSpec, stored: StoredSets) -> BoolArray:
    """bool (n, side, side): what was redrawn of each real picture; nothing where no sample of it was accepted."""
    with context.reading() as session:
        known = regions_by_source(session, spec.generation_id, spec.sample_index, stored.real)
    return read_regions(context.objects, [known.get(pair.id) for pair in stored.real], stored.side_px)
