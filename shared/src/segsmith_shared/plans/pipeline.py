"""A pipeline request becomes a graph of jobs with its cost, before anything runs and without touching a server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel

from segsmith_shared.pairs.agreement import smallest_count
from segsmith_shared.plans.budget import budget_of, pooled_images
from segsmith_shared.plans.cost import forward_flops, generation_cost, training_cost
from segsmith_shared.plans.fairness import (
    at_drawn_side,
    check_real_limits,
    notes_on_arms,
    notes_on_budgets,
    notes_on_negatives,
)
from segsmith_shared.plans.presets import Preset, draws_from_negatives
from segsmith_shared.plans.procedure import differences, with_procedure
from segsmith_shared.plans.recipes import StoredModel, preset_of
from segsmith_shared.plans.segmentation import preset_named as segmentation_preset
from segsmith_shared.plans.specs import (
    ArmSpec,
    ClusterJobSpec,
    EvaluateJobSpec,
    GateJobSpec,
    GenerateJobSpec,
    GenerationOrder,
    JudgeJobSpec,
    PipelineSpec,
    QualityGateSpec,
    Recipe,
    ReportJobSpec,
    SegmentationStudySpec,
    SegmentJobSpec,
    StyleJobSpec,
    StylingOrder,
    TrainingOrder,
    TrainJobSpec,
)
from segsmith_shared.plans.styling import StylingSpec, check_styling, styled_name, styling_cost
from segsmith_shared.plans.synthetic_sets import distinct_members, reads_as_set, sample_set_name
from segsmith_shared.plans.weights import FID_INCEPTION, VGG19
from segsmith_shared.problems import InvalidInput
from segsmith_shared.randomness import seed_for

GPU, CPU = "gpu", "cpu"
LEAST_SOURCES = 2
AFTER_GENERATION = 10
"""Priority of jobs that can wait while a worker can train or generate: others wait for those."""


class TooManyToDropFrom(InvalidInput):
    """Near-copies can be left out where every sample is checked."""

    title = "The set is too large for its near-copies to be left out"


class DatasetTooSmall(InvalidInput):
    """Fewer pairs than the request needs."""

    title = "The dataset is too small"


@dataclass(frozen=True)
class PlannedJob:
    """A job row to be, with the ids of the jobs it needs."""

    id: UUID
    kind: str
    name: str
    queue: str
    spec: BaseModel
    needs: tuple[UUID, ...] = ()
    even_if_needs_failed: bool = False
    priority: int = 0


@dataclass(frozen=True)
class PlannedGeneration:
    """A generation row to be."""

    id: UUID
    recipe: str
    order: GenerationOrder


@dataclass(frozen=True)
class CostLine:
    """One figure a person wants to know before the run, e.g. 1,728 U-Net evaluations of recipe Diff."""

    what: str
    amount: int
    unit: str


@dataclass
class PipelinePlan:
    """The whole graph. The cluster job adds the train jobs per cluster: it knows how many clusters there are."""

    jobs: list[PlannedJob] = field(default_factory=list)
    generations: list[PlannedGeneration] = field(default_factory=list)
    cost: list[CostLine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    differs_from_authors: list[str] = field(default_factory=list)

    def add(
        self, kind: str, name: str, queue: str, spec: BaseModel, needs: tuple[UUID, ...] = (), priority: int = 0
    ) -> UUID:
        job = PlannedJob(uuid4(), kind, name, queue, spec, needs, priority=priority)
        self.jobs.append(job)
        return job.id

    def as_document(self) -> dict[str, Any]:
        """The graph and the cost as JSON, for `dry_run` and for the pipeline's row."""
        names = {job.id: job.name for job in self.jobs}
        return {
            "jobs": [
                {"kind": job.kind, "name": job.name, "queue": job.queue, "needs": [names[need] for need in job.needs]}
                for job in self.jobs
            ],
            "cost": [{"what": line.what, "amount": line.amount, "unit": line.unit} for line in self.cost],
            "notes": self.notes,
            "differs_from_authors": self.differs_from_authors,
        }


def plan_pipeline(
    spec: PipelineSpec,
    pipeline_id: UUID,
    source_count: int,
    torch_threads: int,
    models: Mapping[UUID, StoredModel] = MappingProxyType({}),
    *,
    grey: bool = False,
    classes: int = 1,
    negatives: int = 0,
    import_procedure: str | None = None,
) -> PipelinePlan:
    """The jobs of `spec` on `source_count` pairs; `models` are those that it names. Of `grey` ones, grey are drawn.

    `negatives` is how many of the pairs show no lesion: recipes that cannot use them leave them out. `classes` is how
    many their labels tell apart, `import_procedure` how these were read. `torch_threads` is the installation's default.
    Raises UnknownPreset, PresetOverrideRejected, UnknownSet, ModelsDoNotFit, DatasetTooSmall, TooFewRealPairs or
    EnlargedPictures, so that a request that cannot end well never starts.
    """
    threads = spec.torch_threads or torch_threads
    spec = with_procedure(spec)
    presets = {recipe.name: preset_of(spec, recipe, models, grey=grey, classes=classes) for recipe in spec.recipes}
    for recipe in spec.recipes:
        _check_guidance(recipe, presets[recipe.name], models)
        _check_labels(recipe, presets[recipe.name])
    _check_size(spec, source_count - negatives)
    _check_names(spec)
    plan = PipelinePlan(differs_from_authors=differences(spec, presets, import_procedure))
    usable = {
        name: source_count - (0 if draws_from_negatives(preset.sampling) else negatives)
        for name, preset in presets.items()
    }
    plan.notes += notes_on_negatives(presets, negatives)
    generated = _plan_recipes(plan, spec, presets, usable, threads, models)
    ends = [job_id for drawn in generated for job_id in drawn.job_ids]
    plan.notes += notes_on_budgets(
        {r.name: budget_of(r, presets[r.name], clusters_planned(spec)) for r in spec.recipes}
    )
    judge_ids = _plan_judges(plan, spec, source_count, threads, list(presets.values()))
    sets, job_of_set = _close_sets(plan, spec, generated, judge_ids, ends, threads)
    styled = _plan_styling(plan, spec, presets, generated, job_of_set, threads, usable)
    ends += [job_id for drawn in styled for job_id in drawn.job_ids]
    styled_sets, job_of_styled_set = _close_sets(plan, spec, styled, judge_ids, ends, threads)
    sets, job_of_set = sets | styled_sets, job_of_set | job_of_styled_set
    ends += _plan_segmentation(plan, spec, sets, job_of_set, threads, source_count, list(presets.values()))
    report = ReportJobSpec(pipeline_id=pipeline_id)
    # a report also tells what failed, so it waits for every other job's end and runs whatever that end was
    plan.jobs.append(PlannedJob(uuid4(), "report", "report", CPU, report, tuple(dict.fromkeys(ends)), True))
    return plan


def required_weights(spec: PipelineSpec) -> set[str]:
    """The pretrained files that the jobs of `spec` read. Raises UnknownSegmentationPreset, StylingOverrideRejected"""
    names = {FID_INCEPTION} if spec.evaluation is not None or clusters(spec) else set()
    if spec.segmentation is not None:
        study = segmentation_preset(spec.segmentation.preset).with_overrides(spec.segmentation.overrides)
        names |= {study.encoder_weights} if study.encoder_weights else set()
    if spec.quality_gate is not None:
        judge = segmentation_preset(spec.quality_gate.preset).with_overrides(spec.quality_gate.overrides)
        names |= {judge.encoder_weights} if judge.encoder_weights else set()
    for recipe in spec.recipes:
        if recipe.styling is not None:
            names |= {StylingSpec().with_overrides(recipe.styling).style_network, VGG19}
    return names


def clusters(spec: PipelineSpec) -> bool:
    """Whether the pairs are clustered: not where every recipe draws with imported models."""
    return any(recipe.strategy != "imported" for recipe in spec.recipes)


def clusters_planned(spec: PipelineSpec) -> int:
    """How many clusters there are at most: small ones merge."""
    return len(spec.clustering.imported or ()) or spec.clustering.k


def _close_sets(
    plan: PipelinePlan,
    spec: PipelineSpec,
    generated: Sequence["_Drawn"],
    judge_ids: tuple[UUID, ...],
    ends: list[UUID],
    threads: int,
) -> tuple[dict[str, tuple[UUID, int]], dict[str, tuple[UUID, ...]]]:
    """Evaluate and judge the sets of these generations.

    Returns set -> (generation id, index), and set -> jobs that make it.
    """
    sets = {
        sample_set_name(drawn.recipe, index): (drawn.generation_id, index)
        for drawn in generated
        for index in drawn.indices
    }
    job_of_set = {sample_set_name(drawn.recipe, index): drawn.job_ids for drawn in generated for index in drawn.indices}
    evaluations = _plan_evaluations(plan, spec, sets, job_of_set, threads)
    # the gate of a set also waits for its evaluation, whose figures are of the set before the gate left anything out
    before_gate = {
        label: (*needs, *([evaluations[label]] if evaluations else [])) for label, needs in job_of_set.items()
    }
    gates = _plan_gates(plan, spec, sets, before_gate, judge_ids, threads)
    ends += [*evaluations.values(), *gates.values()]
    if spec.quality_gate and spec.quality_gate.minimum_agreement_quantile is not None:
        return sets, {label: (job_id,) for label, job_id in gates.items()}
    if spec.drop_near_copies:  # a set is whole when its evaluation has left the near-copies out
        return sets, {label: (job_id,) for label, job_id in evaluations.items()}
    return sets, job_of_set


def _check_names(spec: PipelineSpec) -> None:
    """A recipe may not be called as another's sets are."""
    names = {recipe.name for recipe in spec.recipes}
    for recipe in spec.recipes:
        if reads_as_set(recipe.name):
            raise InvalidInput(
                f"A recipe called {recipe.name!r} reads like a set of another recipe.", hint="Call it otherwise."
            )
        if recipe.styling is not None and styled_name(recipe.name) in names:
            raise InvalidInput(
                f"The styled sets of {recipe.name!r} and a recipe are both called {styled_name(recipe.name)!r}.",
                hint="Call one recipe otherwise.",
            )


def _check_size(spec: PipelineSpec, source_count: int) -> None:
    if source_count < LEAST_SOURCES:
        raise DatasetTooSmall(
            f"{source_count or 'no'} {'pair is' if source_count == 1 else 'pairs are'} left to train on; at least two "
            "pairs are needed, four with a test part.",
            hint="Add pairs, or keep all for training with --test-fraction 0 or --test NAME=FOLDER.",
        )
    by_k_means = clusters(spec) and spec.clustering.method == "k-means"
    if by_k_means and source_count < spec.clustering.k:
        raise DatasetTooSmall(
            f"{source_count} pairs cannot make {spec.clustering.k} clusters.",
            hint=f"Add pairs, or ask for at most {source_count} clusters (--k {source_count}).",
        )
    most = spec.evaluation.largest_whole_set if spec.evaluation else source_count
    if spec.drop_near_copies and source_count > most:
        raise TooManyToDropFrom(
            f"drop_near_copies checks every pair, and of the {source_count:,} pairs {most:,} would be checked.",
            hint="Leave drop_near_copies out, raise evaluation.largest_whole_set, or use fewer pairs.",
        )


def _check_labels(recipe: Recipe, preset: Preset) -> None:
    if recipe.labels_from is not None and preset.sampling.label != "exchanged":
        raise InvalidInput(
            f"Recipe {recipe.name} names labels to draw to, but draws its own.",
            hint="Set sampling.label to `exchanged`, or leave labels_from out.",
        )


def _check_guidance(recipe: Recipe, preset: Preset, models: Mapping[UUID, StoredModel]) -> None:
    told = recipe.strategy == "conditioned" or any(models[model_id].told_clusters for model_id in recipe.model_ids)
    if preset.sampling.guidance != 1 and not told:
        raise InvalidInput(
            f"Recipe {recipe.name} asks for guidance, but its networks are told no cluster.",
            hint="Leave sampling.guidance at 1, or choose strategy `conditioned`.",
        )


@dataclass(frozen=True)
class _Drawn:
    """A planned generation: the jobs that make it, and the indices N of its sets."""

    recipe: str
    generation_id: UUID
    job_ids: tuple[UUID, ...]
    indices: range


def _plan_recipes(
    plan: PipelinePlan,
    spec: PipelineSpec,
    presets: dict[str, Preset],
    usable: Mapping[str, int],
    threads: int,
    models: Mapping[UUID, StoredModel],
) -> list[_Drawn]:
    """Cluster, train and generate jobs. Returns a generation for each recipe."""
    cluster_id = uuid4()
    generated = []
    orders = []
    for recipe in spec.recipes:
        preset = presets[recipe.name]
        document = preset.model_dump(mode="json")
        generation = PlannedGeneration(
            uuid4(),
            recipe.name,
            GenerationOrder(
                pairs=spec.pairs,
                geometry=spec.geometry,
                preset=document,
                strategy=recipe.strategy,
                model_ids=recipe.model_ids,
                source_limit=recipe.source_limit,
                labels_from=recipe.labels_from,
                seed=seed_for(spec.seed, f"generation {recipe.name}"),
            ),
        )
        plan.generations.append(generation)
        given = models[recipe.warm_start_model_id].job_id if recipe.warm_start_model_id else None
        trained = recipe.strategy != "imported"
        needs: tuple[UUID, ...] = (cluster_id,) if trained else ()
        shares = min(recipe.generate_jobs, usable[recipe.name])
        job_ids = tuple(
            plan.add(
                "generate",
                f"generate {recipe.name}" + (f" {share + 1}/{shares}" if shares > 1 else ""),
                GPU,
                GenerateJobSpec(
                    generation_id=generation.id, share=share, shares=shares, shared_by="model", torch_threads=threads
                ),
                needs,
            )
            for share in range(shares)
        )
        if trained:
            shared_id, together = given, recipe.strategy != "per_cluster"
            if not together and (warm_start_preset := warm_start_of(preset)):
                name = f"train {recipe.name}, all pairs first"
                shared_id = _plan_training(plan, spec, recipe, warm_start_preset, name, threads, given)
            order = TrainingOrder(
                recipe=recipe.name,
                preset=document,
                needed_by=job_ids,
                together=together,
                conditioned=recipe.strategy == "conditioned",
                pooled=pooled_images(recipe, preset),
                warm_start_job_id=shared_id,
            )
            orders.append(order)
        indices = range(1, preset.sampling.samples_per_source + 1)
        generated.append(_Drawn(recipe.name, generation.id, job_ids, indices))
        plan.cost += _recipe_cost(spec, recipe, preset, usable[recipe.name])
    if clusters(spec):
        plan.jobs.insert(0, _cluster_job(cluster_id, spec, tuple(orders), threads))
    return generated


def _plan_styling(
    plan: PipelinePlan,
    spec: PipelineSpec,
    presets: dict[str, Preset],
    generated: Sequence[_Drawn],
    job_of_set: dict[str, tuple[UUID, ...]],
    threads: int,
    usable: Mapping[str, int],
) -> list[_Drawn]:
    """Style jobs for every recipe that asks for them, after whatever makes its sets whole."""
    planned = []
    for recipe, drawn in zip(spec.recipes, generated, strict=True):
        if recipe.styling is None:
            continue
        preset, name = presets[recipe.name], styled_name(recipe.name)
        styling = StylingSpec().with_overrides({"colour": preset.sampling.colour, **recipe.styling})
        check_styling(styling, preset)
        order = next(known.order for known in plan.generations if known.id == drawn.generation_id)
        of_styled = StylingOrder(generation_id=drawn.generation_id, spec=styling.model_dump(mode="json"))
        seed = seed_for(spec.seed, f"generation {name}")
        generation = PlannedGeneration(uuid4(), name, order.model_copy(update={"styling": of_styled, "seed": seed}))
        plan.generations.append(generation)
        labels = [sample_set_name(recipe.name, index) for index in drawn.indices]
        needs = tuple(dict.fromkeys(job_id for label in labels for job_id in job_of_set[label]))
        shares = len(drawn.job_ids)
        job_ids = tuple(
            plan.add(
                "style",
                f"style {recipe.name}" + (f" {share + 1}/{shares}" if shares > 1 else ""),
                GPU,
                StyleJobSpec(
                    generation_id=generation.id,
                    share=share,
                    shares=shares,
                    torch_threads=threads,
                    allow_stand_ins=spec.allow_stand_ins,
                ),
                needs,
            )
            for share in range(shares)
        )
        planned.append(_Drawn(name, generation.id, job_ids, drawn.indices))
        samples = min(recipe.source_limit or usable[recipe.name], usable[recipe.name]) * len(drawn.indices)
        plan.cost += _styling_lines(name, styling, preset, samples)
    return planned


def _styling_lines(name: str, styling: StylingSpec, preset: Preset, samples: int) -> list[CostLine]:
    cost = styling_cost(styling, samples)
    flops = (cost.forwards + 2 * cost.backwards) * forward_flops(preset)  # a gradient costs two evaluations
    return [
        CostLine(f"{name}: each sample", cost.forwards_per_sample, "U-Net evaluations"),
        CostLine(f"{name}: all samples (at most)", cost.forwards, "U-Net evaluations"),
        CostLine(f"{name}: all samples (at most)", cost.backwards, "gradients through them"),
        CostLine(f"{name}: all samples (at most), less the networks it is compared by", flops, "FLOP"),
    ]


def warm_start_of(preset: Preset) -> Preset | None:
    """What the network is trained with that the clusters' networks start from; None where they start anew."""
    images = preset.training.warm_start_images
    if not images:
        return None
    return preset.with_overrides({"training": {"images_total": images, "warm_start_images": 0, "late_share": 0}})


def _plan_training(
    plan: PipelinePlan,
    spec: PipelineSpec,
    recipe: Recipe,
    preset: Preset,
    name: str,
    threads: int,
    warm_start_job_id: UUID | None,
) -> UUID:
    """A training on all pairs; those of a cluster are added when the clusters are known."""
    training = TrainJobSpec(
        pairs=spec.pairs,
        geometry=spec.geometry,
        recipe=recipe.name,
        preset=preset.model_dump(mode="json"),
        seed=spec.seed,
        torch_threads=threads,
        warm_start_job_id=warm_start_job_id,
    )
    return plan.add("train", name, GPU, training)


def _cluster_job(cluster_id: UUID, spec: PipelineSpec, orders: tuple[TrainingOrder, ...], threads: int) -> PlannedJob:
    cluster_spec = ClusterJobSpec(
        pairs=spec.pairs,
        geometry=spec.geometry,
        clustering=spec.clustering,
        seed=spec.seed,
        torch_threads=threads,
        allow_stand_ins=spec.allow_stand_ins,
        trainings=orders,
    )
    return PlannedJob(cluster_id, "cluster", "cluster", GPU, cluster_spec)


def _recipe_cost(spec: PipelineSpec, recipe: Recipe, preset: Preset, source_count: int) -> list[CostLine]:
    budget = budget_of(recipe, preset, clusters_planned(spec))
    samples = min(recipe.source_limit or source_count, source_count) * preset.sampling.samples_per_source
    training, generation = training_cost(preset, budget), generation_cost(preset, samples)
    lines = [
        CostLine(f"{recipe.name}: models (at most)", budget.networks, "models"),
        CostLine(f"{recipe.name}: each model (at most)", budget.images_each, "images"),
        CostLine(f"{recipe.name}: training (at most)", training.images, "images"),
        CostLine(f"{recipe.name}: training (at most)", training.flops, "FLOP"),
    ]
    if recipe.strategy == "imported":
        lines = [CostLine(f"{recipe.name}: imported models", len(recipe.model_ids), "models")]
    return [
        *lines,
        CostLine(f"{recipe.name}: samples", samples, "pairs"),
        CostLine(f"{recipe.name}: each sample", generation.evaluations_per_sample, "U-Net evaluations"),
        CostLine(f"{recipe.name}: all samples", generation.evaluations, "U-Net evaluations"),
        CostLine(f"{recipe.name}: all samples", generation.flops, "FLOP"),
    ]


def _plan_evaluations(
    plan: PipelinePlan,
    spec: PipelineSpec,
    sets: dict[str, tuple[UUID, int]],
    job_of_set: dict[str, tuple[UUID, ...]],
    threads: int,
) -> dict[str, UUID]:
    """Returns set -> id of its evaluate job; nothing where no evaluation is asked for."""
    if spec.evaluation is None:
        return {}
    return {
        label: plan.add(
            "evaluate",
            f"evaluate {label}",
            CPU,
            EvaluateJobSpec(
                generation_id=generation_id,
                sample_index=index,
                pairs=spec.pairs,
                geometry=spec.geometry,
                evaluation=spec.evaluation,
                seed=spec.seed,
                torch_threads=threads,
                allow_stand_ins=spec.allow_stand_ins,
                drop_near_copies=spec.drop_near_copies,
            ),
            job_of_set[label],
        )
        for label, (generation_id, index) in sets.items()
    }


def _plan_judges(
    plan: PipelinePlan, spec: PipelineSpec, source_count: int, threads: int, drawn: Sequence[Preset]
) -> tuple[UUID, ...]:
    """A judge per fold; none where no gate is asked for."""
    gate = spec.quality_gate
    if gate is None:
        return ()
    gate = gate.model_copy(update={"overrides": at_drawn_side(gate.preset, gate.overrides, drawn)})
    judge_preset = segmentation_preset(gate.preset).with_overrides(gate.overrides)
    _check_judges(gate, source_count)
    plan.cost.append(CostLine("quality gate: judges", gate.folds * judge_preset.steps, "optimiser steps"))
    return tuple(_plan_judge(plan, spec, gate, fold, threads) for fold in range(gate.folds))


def _plan_gates(
    plan: PipelinePlan,
    spec: PipelineSpec,
    sets: dict[str, tuple[UUID, int]],
    needs: dict[str, tuple[UUID, ...]],
    judge_ids: tuple[UUID, ...],
    threads: int,
) -> dict[str, UUID]:
    """Each set before the judges. Returns set -> id of its gate job; nothing where no gate is asked for."""
    gate = spec.quality_gate
    if gate is None:
        return {}
    return {
        label: plan.add(
            "gate",
            f"gate {label}",
            GPU,
            GateJobSpec(
                generation_id=generation_id,
                sample_index=index,
                judge_job_ids=judge_ids,
                geometry=spec.geometry,
                minimum_agreement_quantile=gate.minimum_agreement_quantile,
                torch_threads=threads,
            ),
            (*needs[label], *judge_ids),
            AFTER_GENERATION,
        )
        for label, (generation_id, index) in sets.items()
    }


def _plan_judge(plan: PipelinePlan, spec: PipelineSpec, gate: QualityGateSpec, fold: int, threads: int) -> UUID:
    judge = JudgeJobSpec(
        pairs=spec.pairs,
        geometry=spec.geometry,
        preset=gate.preset,
        overrides=gate.overrides,
        fold=fold,
        folds=gate.folds,
        seed=seed_for(spec.seed, "quality-gate"),
        torch_threads=threads,
        allow_stand_ins=spec.allow_stand_ins,
    )
    return plan.add("judge", f"judge {fold + 1}/{gate.folds}", GPU, judge, (), AFTER_GENERATION)


def _check_judges(gate: QualityGateSpec, source_count: int) -> None:
    """Each judge trains and validates on pairs of other folds, and a quantile needs pairs to be one of."""
    quantile = gate.minimum_agreement_quantile
    needed = max(2 * gate.folds, smallest_count(quantile) if quantile is not None else 0)
    if source_count < needed:
        raise DatasetTooSmall(
            f"{source_count} pairs are too few for a quality gate of {gate.folds} folds"
            + (f" and a quantile of {quantile:g}." if quantile is not None else "."),
            hint=f"It needs {needed} pairs; a higher minimum_agreement_quantile or fewer folds need fewer.",
        )


def _plan_segmentation(
    plan: PipelinePlan,
    spec: PipelineSpec,
    sets: dict[str, tuple[UUID, int]],
    job_of_set: dict[str, tuple[UUID, ...]],
    threads: int,
    real_pairs: int,
    drawn: Sequence[Preset],
) -> list[UUID]:
    study = spec.segmentation
    if study is None:
        return []
    if not spec.tests:
        raise InvalidInput(
            "A segmentation study needs pairs to test on.", hint="Give `tests`, or set `segmentation` to null."
        )
    check_real_limits(study, real_pairs)
    plan.notes += notes_on_arms(study, real_pairs)
    study = study.model_copy(update={"overrides": at_drawn_side(study.preset, study.overrides, drawn)})
    members = {arm.name: distinct_members(arm.sets, sets) for arm in study.arms}
    return [
        plan.add(
            "segment",
            f"segment {arm.name}, seed {seed}",
            GPU,
            _segment_spec(spec, study, arm, {name: sets[name] for name in members[arm.name]}, seed, threads),
            tuple(dict.fromkeys(job_id for name in members[arm.name] for job_id in job_of_set[name])),
            AFTER_GENERATION,
        )
        for arm in study.arms
        for seed in range(study.seeds)
    ]


def _segment_spec(
    spec: PipelineSpec,
    study: SegmentationStudySpec,
    arm: ArmSpec,
    sets: dict[str, tuple[UUID, int]],
    seed: int,
    threads: int,
) -> SegmentJobSpec:
    return SegmentJobSpec(
        arm=arm,
        sets=sets,
        pairs=spec.pairs,
        validation=spec.validation,
        geometry=spec.geometry,
        tests=spec.tests,
        preset=study.preset,
        overrides=study.overrides,
        policy=study.policy,
        allow_stand_ins=spec.allow_stand_ins,
        seed=seed_for(spec.seed, "segmentation", seed),
        torch_threads=threads,
    )
