"""The style job: a share of a generation's samples, styled after the real sources they were drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sqlmodel import Session, col, select

from segsmith_shared.database.generations import close_generation_when_done
from segsmith_shared.database.tables import Generation, Model, Sample
from segsmith_shared.database.tables import Pair as StoredPair
from segsmith_shared.jobs.context import Finished, Outcome, SliceDone, StepContext, Stopped
from segsmith_shared.pairs.lesions import count_lesions
from segsmith_shared.pairs.pair import IGNORE, BoolArray, ByteArray
from segsmith_shared.plans.specs import GenerationOrder, StyleJobSpec
from segsmith_shared.plans.styling import StylingSpec, styling_cost
from segsmith_shared.problems import Conflict, NotFound
from segsmith_shared.randomness import seed_for
from segsmith_shared.storage.pair_arrays import read_image, read_label, read_region, read_squares
from segsmith_shared.versions import code_version
from segsmith_shared.vision.towers import describe_tower
from segsmith_worker.device import device_name
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.inpainting.redraw import RejectionReason
from segsmith_worker.steps.drawing import AtOnce, Network, Progress, StopAskedFor, in_batches
from segsmith_worker.steps.sample_storage import DrawnPairs, StoredSample, store_samples
from segsmith_worker.steps.style_towers import towers_for
from segsmith_worker.styling.guidance import OnStep, Towers
from segsmith_worker.styling.style import StyleResult, style


@dataclass(frozen=True)
class Restyling:
    """One sample to style: the inpainted one, the model that drew it, and the seed of the noise."""

    content: Sample
    model: Model
    seed: int


@dataclass(frozen=True)
class StyleJob:
    """What every batch of the job needs."""

    context: StepContext
    job: StyleJobSpec
    order: GenerationOrder
    spec: StylingSpec
    towers: Towers


def run(context: StepContext) -> Outcome:
    """Every batch is stored at once, so a cut run goes on at the first batch whose samples are not all there."""
    job_spec = StyleJobSpec.model_validate(context.spec)
    with context.reading() as session:
        generation = session.get(Generation, job_spec.generation_id)
        if generation is None:
            raise NotFound(f"There is no generation {job_spec.generation_id}.")
        order = GenerationOrder.model_validate(generation.spec)
        restylings = planned_restylings(session, order, job_spec)
        done = set(
            session.exec(select(Sample.source_pair_id, Sample.sample_index).where(Sample.job_id == context.job_id))
        )
    if order.styling is None:
        raise Conflict(f"Generation {generation.recipe!r} is not one of styled sets.")
    spec = StylingSpec.model_validate(order.styling.spec)
    towers = towers_for(context, spec, allow_stand_ins=job_spec.allow_stand_ins)
    job = StyleJob(context, job_spec, order, spec, towers)
    batches = list(in_batches(restylings, spec.batch))
    progress = Progress(context, styling_cost(spec, 1).forwards_per_sample, len(batches))
    network = Network(context)
    at_once = AtOnce(context, spec.batch)
    for number, batch in enumerate(batches):
        if all((each.content.source_pair_id, each.content.sample_index) in done for each in batch):
            continue
        if context.slice_is_over():
            return SliceDone(state=at_once.as_state())
        try:
            rows = _make(job, network.of(batch[0].model), batch, at_once, progress.of_batch(number))
        except StopAskedFor:
            return Stopped(state=at_once.as_state())
        context.store(rows)
    return Finished(
        outputs={"samples": len(restylings)},
        in_transaction=lambda session: close_generation_when_done(session, job_spec.generation_id, context.job_id),
    )


def planned_restylings(session: Session, order: GenerationOrder, spec: StyleJobSpec) -> list[Restyling]:
    """This job's share of the accepted samples, those of one model together."""
    if order.styling is None:
        return []
    query = (
        select(Sample, Model, StoredPair.position)
        .join(Model, col(Model.id) == col(Sample.model_id))
        .join(StoredPair, col(StoredPair.id) == col(Sample.source_pair_id))
        .where(Sample.generation_id == order.styling.generation_id, col(Sample.accepted))
    )
    found = sorted(session.exec(query).all(), key=lambda row: (row[0].sample_index, row[2]))
    share = found[spec.share :: spec.shares]
    share.sort(key=lambda row: (row[1].cluster or 0, str(row[1].id), row[0].sample_index, row[2]))
    return [
        Restyling(content, model, seed_for(order.seed, "style", position, content.sample_index))
        for content, model, position in share
    ]


def _make(
    job: StyleJob, model: DiffusionModel, batch: Sequence[Restyling], at_once: AtOnce, on_step: OnStep
) -> list[Sample]:
    contents = [each.content for each in batch]
    classes = model.preset.network.classes
    squares = read_squares(job.context.objects, contents, model.side_px, job.order.geometry, classes)
    sources, source_labels, regions = _sources_and_regions(job, contents, classes)
    result = style(
        model,
        job.towers,
        torch.from_numpy(squares),
        torch.from_numpy(sources.transpose(0, 3, 1, 2)),
        torch.from_numpy(regions),
        [each.seed for each in batch],
        job.spec.model_copy(update={"batch": at_once.count}),
        on_step,
        clusters=[content.cluster or 0 for content in contents] if model.network.clusters else None,
        on_smaller_batch=at_once.shrink,
    )
    drawn = DrawnPairs(
        images=result.images.permute(0, 2, 3, 1).contiguous().numpy(),
        labels=result.labels.numpy(),
        regions=regions,
        sources=sources,
        source_labels=source_labels,
    )
    stored = store_samples(job.context.objects, drawn, classes)
    return [styled_sample(job, each, result, index, stored[index]) for index, each in enumerate(batch)]


def _sources_and_regions(
    job: StyleJob, contents: Sequence[Sample], classes: int
) -> tuple[ByteArray, ByteArray, BoolArray]:
    """The sources as the model saw them, uint8 (n, side, side, 3), their class maps, and what was redrawn, bool."""
    digests = [d for s in contents for d in (s.source_digest, s.source_label_digest, s.region_digest)]
    stored = job.context.objects.get_many(digests)
    read = [(read_image(next(stored)), read_label(next(stored), classes), read_region(next(stored))) for _ in contents]
    sources, labels, regions = zip(*read, strict=True)
    return np.stack(sources), np.stack(labels), np.stack(regions)


def styled_sample(job: StyleJob, each: Restyling, result: StyleResult, index: int, stored: StoredSample) -> Sample:
    """The row of one styled pair; one whose label the styling lost is rejected."""
    content, label = each.content, result.labels[index].numpy()
    empty = not label.any()
    return Sample(
        generation_id=job.job.generation_id,
        job_id=job.context.job_id,
        source_pair_id=content.source_pair_id,
        model_id=content.model_id,
        cluster=content.cluster,
        sample_index=content.sample_index,
        seed=each.seed,
        accepted=not empty,
        rejection_reason=RejectionReason.EMPTY_LABEL if empty else None,
        image_digest=stored.image,
        label_digest=stored.label,
        region_digest=stored.region,
        source_digest=stored.source,
        source_label_digest=stored.source_label,
        thumbnail_digest=stored.thumbnail,
        overlay_digest=stored.overlay,
        evaluations=styling_cost(job.spec, 1).forwards_per_sample,
        lesion_fraction=float(((label > 0) & (label != IGNORE)).mean()),
        lesion_count=count_lesions(label)[0],
        provenance=_provenance(job, content, float(result.label_drift[index])),
    )


def _provenance(job: StyleJob, content: Sample, label_drift: float) -> dict[str, Any]:
    return {
        "styled_sample_id": str(content.id),
        "content_digest": content.image_digest,
        "label_drift_dice": label_drift,
        "styling": job.spec.model_dump(mode="json"),
        "style_tower": describe_tower(job.towers.style),
        "texture_tower": describe_tower(job.towers.texture),
        "placement": content.provenance.get("placement"),
        "torch_threads": job.job.torch_threads,
        "device": device_name(),
        "code_version": code_version(),
    }
