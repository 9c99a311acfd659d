"""The generate job: draw a share of a generation's samples, batch by batch; the last job of all closes the sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import torch
from sqlmodel import Session, select

from segsmith_shared.database.generations import close_generation_when_done, models_of
from segsmith_shared.database.pairs import pairs_of
from segsmith_shared.database.tables import Clustering, Generation, Model, Sample
from segsmith_shared.database.tables import Pair as StoredPair
from segsmith_shared.jobs.context import Finished, Outcome, SliceDone, StepContext, Stopped
from segsmith_shared.pairs.geometry import place
from segsmith_shared.pairs.lesions import count_lesions
from segsmith_shared.pairs.pair import IGNORE
from segsmith_shared.plans.cost import generation_cost
from segsmith_shared.plans.presets import Preset, draws_from_negatives
from segsmith_shared.plans.specs import GenerateJobSpec, GenerationOrder, Strategy
from segsmith_shared.problems import Conflict, NotFound
from segsmith_shared.randomness import numpy_generator_for, seed_for
from segsmith_shared.storage.pair_arrays import class_maps_of, images_of, read_squares
from segsmith_shared.versions import code_version
from segsmith_worker.device import device_name
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import OnEvaluation
from segsmith_worker.inpainting.redraw import RedrawResult, choose_cluster, redraw
from segsmith_worker.steps.drawing import AtOnce, Network, Progress, StopAskedFor, in_batches
from segsmith_worker.steps.sample_storage import DrawnPairs, StoredSample, store_samples


@dataclass(frozen=True)
class Draw:
    """One sample to make: from which source, in which cluster's manner, with which model, under which seed."""

    source: StoredPair
    sample_index: int
    model: Model
    cluster: int | None
    seed: int
    label_from: StoredPair | None = None


def run(context: StepContext) -> Outcome:
    """Every batch is stored at once, so a cut run goes on at the first batch whose samples are not all there."""
    spec = GenerateJobSpec.model_validate(context.spec)
    with context.reading() as session:
        generation = session.get(Generation, spec.generation_id)
        if generation is None:
            raise NotFound(f"There is no generation {spec.generation_id}.")
        order = GenerationOrder.model_validate(generation.spec)
        draws = planned_draws(session, generation, order, spec)
        done = set(
            session.exec(select(Sample.source_pair_id, Sample.sample_index).where(Sample.job_id == context.job_id))
        )
    preset = Preset.model_validate(order.preset)
    batches = list(in_batches(draws, preset.sampling.batch))
    progress = Progress(context, generation_cost(preset, 1).steps_per_sample, len(batches))
    network = Network(context)
    at_once = AtOnce(context, preset.sampling.batch)
    for number, batch in enumerate(batches):
        if all((draw.source.id, draw.sample_index) in done for draw in batch):
            continue
        if context.slice_is_over():
            return SliceDone(state=at_once.as_state())
        try:
            rows = _make(context, order, preset, network.of(batch[0].model), batch, at_once, progress.of_batch(number))
        except StopAskedFor:
            return Stopped(state=at_once.as_state())
        context.store(rows)
    return Finished(
        outputs={"samples": len(draws)},
        in_transaction=lambda session: close_generation_when_done(session, spec.generation_id, context.job_id),
    )


def planned_draws(
    session: Session, generation: Generation, order: GenerationOrder, spec: GenerateJobSpec
) -> list[Draw]:
    """This job's samples, those of one model together. Which model redraws a source depends on the seed alone.

    Shared by model, a share is a stretch of all samples in the order of their models: each job reads a few models, and
    not all of a thousand, which would be terabytes.
    """
    preset = Preset.model_validate(order.preset)
    models = models_of(session, generation)
    if not models:
        raise Conflict(f"No model of recipe {generation.recipe!r} is trained yet.")
    pairs = pairs_of(session, order.pairs)
    sources = chosen_sources(usable_sources(pairs, preset), order)
    exchanged = preset.sampling.label == "exchanged"
    labels = Labels.of(pairs_of(session, order.labels_from) if order.labels_from else pairs) if exchanged else None
    manners = Manners.of(session, models, order.strategy)
    draws = []
    for index in range(1, preset.sampling.samples_per_source + 1):
        for source in sources:
            own = manners.own[source.id] if manners.own else 0
            chosen = choose_cluster(order.seed, source.position, index, own, manners.count, preset.sampling)
            model, cluster = manners.model_and_cluster(chosen)
            seed = seed_for(order.seed, "sample", source.position, index)
            label_from = labels.label_for(source, seed) if labels else None
            draws.append(Draw(source, index, model, cluster, seed, label_from))
    draws.sort(key=lambda draw: (draw.model.cluster or 0, str(draw.model.id), draw.sample_index, draw.source.position))
    if spec.shared_by == "source":
        own_sources = {source.id for source in sources[spec.share :: spec.shares]}
        return [draw for draw in draws if draw.source.id in own_sources]
    begin, end = (len(draws) * share // spec.shares for share in (spec.share, spec.share + 1))
    return draws[begin:end]


@dataclass(frozen=True)
class Labels:
    """Whose labels can be drawn to, looked through once and not for every sample."""

    by_name: Mapping[str, StoredPair]
    with_lesions: Sequence[StoredPair]
    places: Mapping[UUID, int]

    @classmethod
    def of(cls, pairs: Sequence[StoredPair]) -> Self:
        with_lesions = [pair for pair in pairs if pair.lesion_fraction > 0]
        places = {pair.id: place for place, pair in enumerate(with_lesions)}
        return cls({pair.name: pair for pair in pairs}, with_lesions, places)

    def label_for(self, source: StoredPair, seed: int) -> StoredPair:
        """Another version's pair of the same name, else any pair with a lesion but the source, by the seed.

        Raises Conflict where there is no other pair.
        """
        namesake = self.by_name.get(source.name, source)
        if namesake.id != source.id:
            return namesake
        own_place = self.places.get(source.id, len(self.with_lesions))
        others = len(self.with_lesions) - (source.id in self.places)
        if not others:
            raise Conflict("There is no other label to draw to.", hint="Give labels_from a version with lesions.")
        drawn = int(numpy_generator_for(seed, "label").integers(others))
        return self.with_lesions[drawn + (drawn >= own_place)]


def usable_sources(stored: Sequence[StoredPair], preset: Preset) -> list[StoredPair]:
    """Pairs that can be redrawn: those without a lesion only where one is drawn into them to a given label."""
    if draws_from_negatives(preset.sampling):
        return list(stored)
    return [pair for pair in stored if pair.lesion_fraction > 0]


def chosen_sources(stored: Sequence[StoredPair], order: GenerationOrder) -> list[StoredPair]:
    """All sources, or `source_limit` of them drawn by the seed, by position."""
    if order.source_limit is None or order.source_limit >= len(stored):
        return list(stored)
    drawn = numpy_generator_for(order.seed, "sources").permutation(len(stored))[: order.source_limit]
    return [stored[index] for index in sorted(drawn)]


@dataclass(frozen=True)
class Manners:
    """The manners a sample can be drawn in: one per cluster, by as many models or by one that is told; or just one.

    `own` is the manner of each pair's own cluster, empty where nobody knows of clusters or they are of other pairs.
    """

    models: Sequence[Model]
    own: Mapping[UUID, int]
    count: int
    told: bool

    @classmethod
    def of(cls, session: Session, models: Sequence[Model], strategy: Strategy) -> Self:
        """Those of a recipe's models. Imported ones are one manner each, unless one alone is told the cluster."""
        clustering = session.get(Clustering, models[0].clustering_id) if models[0].clustering_id else None
        told = models[0].cluster is None
        if clustering is None or (strategy == "imported" and not told):
            return cls(models, {}, len(models), told=False)
        clusters = range(clustering.cluster_count) if told else [model.cluster for model in models]
        position = {cluster: index for index, cluster in enumerate(clusters)}
        own = {UUID(pair_id): position[cluster] for pair_id, cluster in clustering.assignments.items()}
        return cls(models, {} if strategy == "imported" else own, len(position), told)

    def model_and_cluster(self, manner: int) -> tuple[Model, int | None]:
        """Who draws in this manner, and the cluster it is of."""
        return (self.models[0], manner) if self.told else (self.models[manner], self.models[manner].cluster)


def _make(
    context: StepContext,
    order: GenerationOrder,
    preset: Preset,
    model: DiffusionModel,
    batch: Sequence[Draw],
    at_once: AtOnce,
    on_evaluation: OnEvaluation,
) -> list[Sample]:
    side_px, classes = preset.network.side_px, preset.network.classes
    squares = read_squares(context.objects, [draw.source for draw in batch], side_px, order.geometry, classes)
    seeds = [draw.seed for draw in batch]
    told = [draw.cluster or 0 for draw in batch] if model.network.clusters else None
    sampling = preset.sampling.model_copy(update={"batch": at_once.count})
    label_pairs = [draw.label_from for draw in batch if draw.label_from]
    labels = read_squares(context.objects, label_pairs, side_px, order.geometry, classes) if label_pairs else None
    result = redraw(
        model,
        torch.from_numpy(squares),
        seeds,
        sampling,
        on_evaluation,
        clusters=told,
        labels=None if labels is None else torch.from_numpy(class_maps_of(labels)),
        on_smaller_batch=at_once.shrink,
    )
    pictures = DrawnPairs(
        images=result.images.permute(0, 2, 3, 1).contiguous().numpy(),
        labels=result.labels.numpy(),
        regions=result.redraw_regions.numpy(),
        sources=images_of(squares),
        source_labels=class_maps_of(squares),
    )
    drawn = preset.model_copy(update={"sampling": sampling.model_copy(update={"batch": at_once.count})})
    stored = store_samples(context.objects, pictures, classes)
    return [_row(context, order, drawn, draw, result, index, stored[index]) for index, draw in enumerate(batch)]


def _row(
    context: StepContext,
    order: GenerationOrder,
    preset: Preset,
    draw: Draw,
    result: RedrawResult,
    index: int,
    stored: StoredSample,
) -> Sample:
    spec = GenerateJobSpec.model_validate(context.spec)
    label = result.labels[index].numpy()
    placement = place(order.geometry, draw.source.width_px, draw.source.height_px, preset.network.side_px)
    return Sample(
        generation_id=spec.generation_id,
        job_id=context.job_id,
        source_pair_id=draw.source.id,
        model_id=draw.model.id,
        cluster=draw.cluster,
        sample_index=draw.sample_index,
        seed=draw.seed,
        accepted=result.accepted[index],
        rejection_reason=result.rejection_reasons[index],
        image_digest=stored.image,
        label_digest=stored.label,
        region_digest=stored.region,
        source_digest=stored.source,
        source_label_digest=stored.source_label,
        thumbnail_digest=stored.thumbnail,
        overlay_digest=stored.overlay,
        evaluations=generation_cost(preset, 1).evaluations_per_sample,
        lesion_fraction=float(((label > 0) & (label != IGNORE)).mean()),
        lesion_count=count_lesions(label)[0],
        provenance={
            "sampling": preset.sampling.model_dump(mode="json"),
            "procedure": preset.procedure,
            "placement": placement.as_document(),
            **({"label_pair_id": str(draw.label_from.id)} if draw.label_from else {}),
            "torch_threads": spec.torch_threads,
            "device": device_name(),
            "code_version": code_version(),
        },
    )
