"""What a pipeline left behind becomes the facts of its report; nothing here touches a server."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from statistics import median
from typing import Any
from uuid import UUID

from segsmith_evaluator.metrics.evaluate_set import SetMetrics
from segsmith_evaluator.report.facts import (
    ArmFacts,
    BudgetFacts,
    ClusterFacts,
    ClusteringFacts,
    DifferenceFacts,
    Estimate,
    EvaluationFacts,
    ExtractorFacts,
    Facts,
    JobFacts,
    JudgementFacts,
    LabelFacts,
    MergeFacts,
    ModelFacts,
    PartFacts,
    PipelineFacts,
    ScoreFacts,
    SegmentationFacts,
    SetFacts,
    StylingFacts,
)
from segsmith_evaluator.report.rows import PartRows, Rows
from segsmith_shared.database.tables import Clustering, Generation, Job, JobKind, Model, Pair, Sample
from segsmith_shared.database.tables import SegmentationRun as Run
from segsmith_shared.pairs.agreement import Judgement
from segsmith_shared.pairs.import_report import ImportReport
from segsmith_shared.plans.fairness import real_count, reference_of
from segsmith_shared.plans.presets import SamplingSpec, draws_from_negatives
from segsmith_shared.plans.specs import ArmSpec, SegmentationStudySpec
from segsmith_shared.plans.synthetic_sets import sample_set_name
from segsmith_shared.versions import code_version

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pillow", "clean-fid", "pytorch-msssim")
"""What the evaluator computes with; the workers' own are not installed beside it."""
_DRAWN_NAME = re.compile(r"(^|/)drawn-\d{4,}$")
CLASS_METRICS = ("dice", "iou")
METRICS = (
    "dice",
    "iou",
    "dice_lesion",
    "iou_lesion",
    "false_positives",
    "dice_dataset",
    "iou_dataset",
    "dice_soft_paper",
)
COUNTS = ("negatives", "vanished")
"""What a run counts of a test set beside its metrics."""


def facts_of(rows: Rows, labels: Mapping[str, LabelFacts], reported_at: datetime) -> Facts:
    """The facts of a pipeline as far as it came. `labels` maps a set's label to what was measured on its samples."""
    return Facts(
        pipeline=PipelineFacts(
            id=rows.pipeline.id,
            name=rows.pipeline.name,
            created_at=rows.pipeline.created_at,
            reported_at=reported_at,
            seed=rows.spec.seed,
            preset=rows.spec.preset,
            spec=rows.spec.model_dump(mode="json"),
            plan=rows.pipeline.plan,
        ),
        parts=tuple(_part(part) for part in rows.parts),
        sets=tuple(_sets(rows, labels)),
        clusterings=tuple(_clustering(item) for item in rows.clusterings),
        models=tuple(_models(rows)),
        budgets=tuple(_budgets(rows)),
        evaluations=tuple(
            EvaluationFacts(label=item.label, metrics=SetMetrics.model_validate(item.metrics))
            for item in rows.evaluations
        ),
        judgements=tuple(
            JudgementFacts(label=item.label, judgement=Judgement.model_validate(item.findings))
            for item in rows.judgements
        ),
        segmentation=_study(rows),
        jobs=tuple(_job(job) for job in rows.jobs),
        code_version=code_version(),
        libraries={name: version(name) for name in LIBRARIES},
    )


def are_drawn(pairs: Sequence[Pair]) -> bool:
    """Whether `segsmith dataset draw` made the pairs, by its file names: they prove the machinery, not the method."""
    return bool(pairs) and all(_DRAWN_NAME.search(pair.name) for pair in pairs)


def sets_of(rows: Rows) -> Iterator[tuple[str, Generation, int, list[Sample]]]:
    """Every set asked for, made or not: its label, generation, sample index and samples in the order of sources."""
    for generation in rows.generations:
        samples = rows.samples[generation.id]
        for index in range(1, _samples_per_source(generation) + 1):
            of_set = [sample for sample in samples if sample.sample_index == index]
            yield sample_set_name(generation.recipe, index), generation, index, of_set


def _samples_per_source(generation: Generation) -> int:
    return int(generation.spec["preset"]["sampling"]["samples_per_source"])


def _part(part: PartRows) -> PartFacts:
    return PartFacts(
        name=part.name,
        role=part.role,
        dataset=part.dataset.name,
        version_id=part.version.id,
        version_number=part.version.number,
        version_label=part.version.label,
        origin=part.version.origin,
        drawn=are_drawn(part.pairs),
        digest=part.version.digest,
        part=part.reference.part,
        n=len(part.pairs),
        import_words=import_words(part.version.report),
        class_names=tuple(part.version.class_names),
        negatives=sum(pair.lesion_fraction == 0 for pair in part.pairs),
    )


def import_words(report: Mapping[str, Any]) -> str:
    """The import's own words; empty for a version that no import made, e.g. a synthetic set used as training pairs."""
    return ImportReport.model_validate(report).in_words() if "layout" in report else ""


def _sets(rows: Rows, labels: Mapping[str, LabelFacts]) -> Iterator[SetFacts]:
    for label, generation, index, samples in sets_of(rows):
        made = generation.version_ids.get(str(index))
        yield SetFacts(
            label=label,
            recipe=generation.recipe,
            sample_index=index,
            generation_id=generation.id,
            version_id=UUID(made) if made else None,
            requested=_requested(rows, generation),
            attempted=len(samples),
            accepted=sum(sample.accepted for sample in samples),
            rejected=dict(Counter(s.rejection_reason or "unknown" for s in samples if not s.accepted)),
            evaluations=sum(sample.evaluations for sample in samples),
            sampling=generation.spec["preset"]["sampling"],
            labels=labels.get(label),
            styling=_styling(generation, samples),
            code_versions=tuple(sorted({str(v) for s in samples if (v := s.provenance.get("code_version"))})),
        )


def _requested(rows: Rows, generation: Generation) -> int:
    """How many sources a generation was to draw from."""
    sampling = SamplingSpec.model_validate(generation.spec["preset"]["sampling"])
    negatives_too = draws_from_negatives(sampling)
    usable = sum(negatives_too or pair.lesion_fraction > 0 for pair in rows.training.pairs)
    return min(generation.spec.get("source_limit") or usable, usable)


def _styling(generation: Generation, samples: Sequence[Sample]) -> StylingFacts | None:
    order = generation.spec.get("styling")
    if order is None or not samples:
        return None
    told = [sample.provenance for sample in samples]
    towers = {tower["name"]: tower for each in told for tower in (each["style_tower"], each["texture_tower"])}
    return StylingFacts(
        spec=order["spec"],
        networks=tuple(sorted(towers)),
        stand_in=any(tower["stand_in"] for tower in towers.values()),
        n=len(told),
        label_drift=median(each["label_drift_dice"] for each in told),
    )


def _clustering(item: Clustering) -> ClusteringFacts:
    sizes = Counter(int(cluster) for cluster in item.assignments.values())
    extractor = item.extractor
    return ClusteringFacts(
        id=item.id,
        method=item.method,
        requested=item.report.get("requested_clusters"),
        extractor=ExtractorFacts(name=extractor["name"], digest=extractor["digest"], stand_in=extractor["stand_in"])
        if extractor
        else None,
        clusters=tuple(ClusterFacts(index=index, size=sizes[index]) for index in range(item.cluster_count)),
        merges=tuple(MergeFacts.model_validate(merge) for merge in item.report.get("merges", ())),
        silhouettes={int(k): float(value) for k, value in item.report.get("silhouettes", {}).items()},
        libraries=item.report.get("library_versions", {}),
    )


def _models(rows: Rows) -> Iterator[ModelFacts]:
    jobs = {job.id: job for job in rows.jobs}
    for model in rows.models:
        yield _model(model, jobs[model.job_id])
    for model in rows.imported_models:
        yield _model(model, None)


def _budgets(rows: Rows) -> Iterator[BudgetFacts]:
    """Recipe by recipe, where something was trained; planned is what the jobs' presets say."""
    jobs = [job for job in rows.jobs if job.kind == JobKind.TRAIN]
    for recipe in rows.spec.recipes:
        of_recipe = {job.id: job for job in jobs if job.spec.get("recipe") == recipe.name}
        shared = {job.spec["warm_start_job_id"] for job in of_recipe.values() if job.spec.get("warm_start_job_id")}
        if of_recipe:
            yield BudgetFacts(
                recipe=recipe.name,
                strategy=recipe.strategy,
                networks=sum(str(job_id) not in shared for job_id in of_recipe),
                images_seen=sum(model.images_seen for model in rows.models if model.job_id in of_recipe),
                images_planned=sum(int(job.spec["preset"]["training"]["images_total"]) for job in of_recipe.values()),
            )


def _model(model: Model, job: Job | None) -> ModelFacts:
    """A model of a training, or an imported one: what it cost to train is not known."""
    return ModelFacts(
        id=model.id,
        recipe=model.recipe,
        cluster=model.cluster,
        told_clusters=model.cluster is None and model.clustering_id is not None,
        preset=model.preset,
        images_seen=model.images_seen,
        training_images=model.training_images,
        weights=model.weights,
        checkpoint_digest=model.checkpoint_digest,
        curve_images_seen=tuple(model.curve.get("images_seen", ())),
        curve_loss=tuple(model.curve.get("loss", ())),
        run_seconds=job.run_seconds if job else 0.0,
        peak_memory_bytes=job.peak_memory_bytes if job else 0,
        imported=job is None,
    )


def _job(job: Job) -> JobFacts:
    return JobFacts(
        id=job.id,
        kind=job.kind,
        name=job.name,
        status=job.status,
        run_seconds=job.run_seconds,
        peak_memory_bytes=job.peak_memory_bytes,
        progress_done=job.progress_done,
        progress_total=job.progress_total,
        progress_unit=job.progress_unit,
        spec=job.spec,
        problem=job.problem,
    )


def _study(rows: Rows) -> SegmentationFacts | None:
    asked = rows.spec.segmentation
    if asked is None or not rows.runs:
        return None
    tests = tuple(test.name for test in rows.spec.tests)
    class_names = tuple(rows.training.version.class_names)
    scores = tuple(_scores(rows.runs, tests, class_names))
    real_pairs = len(rows.training.pairs)
    return SegmentationFacts(
        arms=tuple(_arm(arm, asked, rows.runs, real_pairs) for arm in asked.arms),
        tests=tests,
        metrics=_metric_order(score.metric for score in scores),
        scores=scores,
        differences=tuple(_differences(asked, scores, real_pairs)),
        parameters=rows.runs[0].parameters,
        class_names=tuple(name for name in class_names if any(s.metric == f"iou[{name}]" for s in scores)),
        policy=asked.policy,
    )


def _arm(arm: ArmSpec, asked: SegmentationStudySpec, runs: Iterable[Run], real_pairs: int) -> ArmFacts:
    mine = [run for run in runs if run.arm == arm.name]
    reference = reference_of(arm, asked.arms, real_pairs)
    return ArmFacts(
        name=arm.name,
        real=arm.real,
        real_pairs=real_count(arm, real_pairs),
        reference=reference.name if reference else None,
        sets=arm.sets,
        training_pairs=mine[0].parameters.get("training_pairs") if mine else None,
        steps=mine[0].parameters.get("steps") if mine else None,
        seeds=tuple(run.seed for run in mine),
        requested_seeds=asked.seeds,
    )


def _scores(runs: Iterable[Run], tests: Iterable[str], class_names: Sequence[str]) -> Iterator[ScoreFacts]:
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    for run in runs:
        for test, metrics in run.scores.items():
            for metric, value in metrics.items():
                values.setdefault((run.arm, test, metric), {})[run.seed] = float(value)
    known = set(tests)
    shown = {*METRICS, *COUNTS, *(f"{metric}[{name}]" for metric in CLASS_METRICS for name in class_names)}
    for (arm, test, metric), seeds in values.items():
        if test in known and metric in shown:
            estimate = Estimate.of_mean(list(seeds.values()))
            yield ScoreFacts(arm=arm, test=test, metric=metric, seeds=seeds, estimate=estimate)


def _metric_order(metrics: Iterable[str]) -> tuple[str, ...]:
    present = set(metrics)
    return tuple(metric for metric in METRICS if metric in present)


def _differences(
    asked: SegmentationStudySpec, scores: Iterable[ScoreFacts], real_pairs: int
) -> Iterator[DifferenceFacts]:
    """Every arm less the arm of as many real pairs alone, over the seeds both have. More real pairs are no rival."""
    references = {arm.name: reference_of(arm, asked.arms, real_pairs) for arm in asked.arms}
    by_key = {(score.arm, score.test, score.metric): score for score in scores}
    for (arm, test, metric), score in by_key.items():
        reference = references.get(arm)
        base = by_key.get((reference.name, test, metric)) if reference else None
        if base is None or metric in COUNTS:
            continue
        shared = sorted(score.seeds.keys() & base.seeds.keys())
        if shared:
            estimate = Estimate.of_mean([score.seeds[seed] - base.seeds[seed] for seed in shared])
            yield DifferenceFacts(arm=arm, reference=base.arm, test=test, metric=metric, estimate=estimate)
