"""The evaluate job: one synthetic set against the real pairs it was drawn from, and real against held-out real."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import numpy as np
from sqlmodel import Session

from segsmith_evaluator.metrics.evaluate_set import MetricOptions, SetMetrics, evaluate_set
from segsmith_evaluator.steps.copy_check import CheckedSet, CopyCheckInputs, checked_set, name_of_sheet
from segsmith_shared.database.generations import NEAR_COPY, accepted_samples, leave_out, set_label, set_version_id
from segsmith_shared.database.pairs import pairs_of
from segsmith_shared.database.tables import DatasetVersion, Evaluation, Generation, Pair, Sample
from segsmith_shared.jobs.context import Finished, Outcome, StepContext, Stopped
from segsmith_shared.pairs.classes import classes_of
from segsmith_shared.pairs.pair import BoolArray
from segsmith_shared.plans.presets import SamplingSpec
from segsmith_shared.plans.specs import EvaluateJobSpec
from segsmith_shared.problems import NotFound
from segsmith_shared.storage.pair_arrays import images_of, read_region, read_squares
from segsmith_shared.vision.features import Interrupted, RememberingExtractor, extractor_for


@dataclass(frozen=True)
class StoredSets:
    """The rows an evaluation reads, and the version the set was closed as."""

    generation: Generation
    version_id: UUID
    real: list[Pair]
    held_out: list[Pair]
    samples: list[Sample]
    classes: int

    @property
    def side_px(self) -> int:
        return int(self.generation.spec["preset"]["network"]["side_px"])


def run(context: StepContext) -> Outcome:
    """One slice; both sides are compared at the model's side, so that resizing flatters neither."""
    spec = EvaluateJobSpec.model_validate(context.spec)
    with context.reading() as session:
        stored = _stored_sets(session, spec)
    label = set_label(stored.generation.recipe, spec.sample_index)
    try:
        metrics, checked = _measured(context, spec, stored, label)
    except Interrupted:
        return Stopped(state={})
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
    samples = accepted_samples(session, generation.id, spec.sample_index)
    held_out = pairs_of(session, spec.tests[0].pairs) if spec.tests else []
    classes = classes_of(session.get_one(DatasetVersion, generation.source_version_id).class_names)
    return StoredSets(generation, version_id, pairs_of(session, spec.pairs), held_out, samples, classes)


def _measured(
    context: StepContext, spec: EvaluateJobSpec, stored: StoredSets, label: str
) -> tuple[SetMetrics, CheckedSet]:
    features = extractor_for(context.engine, context.objects, allow_stand_in=spec.allow_stand_ins)
    extractor = RememberingExtractor(features)
    real, synthetic, held_out = (
        read_squares(context.objects, pairs, stored.side_px, spec.geometry, stored.classes)
        for pairs in (stored.real, stored.samples, stored.held_out)
    )
    regions = _regions(context, stored)

    def on_step(stage: str, done: int, total: int) -> bool:
        context.progress(done, total, stage)
        return context.stop_requested() is not None

    metrics = evaluate_set(
        images_of(real),
        images_of(synthetic),
        extractor,
        seed=spec.seed,
        real_regions=_regions_of_sources(stored, regions),
        synthetic_regions=regions,
        held_out=images_of(held_out) if len(held_out) else None,
        options=MetricOptions(
            ms_ssim_pairs=spec.evaluation.ms_ssim_pairs, bootstrap_samples=spec.evaluation.bootstrap_samples
        ),
        on_step=on_step,
    )
    sampling = SamplingSpec.model_validate(stored.generation.spec["preset"]["sampling"])
    inputs = CopyCheckInputs(stored.samples, synthetic, regions, stored.real, real, held_out, sampling)
    checked = checked_set(inputs, label, extractor, dropped=spec.drop_near_copies, on_step=on_step)
    return metrics.model_copy(update={"memorisation": checked.findings}), checked


def _regions(context: StepContext, stored: StoredSets) -> BoolArray:
    """bool (m, side, side): what was redrawn in each sample."""
    contents = context.objects.get_many([sample.region_digest for sample in stored.samples])
    regions = [read_region(content) for content in contents]
    return np.stack(regions) if regions else np.zeros((0, stored.side_px, stored.side_px), np.bool_)


def _regions_of_sources(stored: StoredSets, regions: BoolArray) -> BoolArray:
    """bool (n, side, side): what was redrawn of each real picture; nothing where no sample of it was accepted."""
    place = {sample.source_pair_id: index for index, sample in enumerate(stored.samples)}
    empty = np.zeros((stored.side_px, stored.side_px), np.bool_)
    return np.stack([regions[place[pair.id]] if pair.id in place else empty for pair in stored.real])
