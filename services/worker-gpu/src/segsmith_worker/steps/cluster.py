"""The cluster job: divide a version's pairs, show the clusters, and add one train job per cluster and recipe."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save

from segsmith_shared.database.pairs import class_names_of, pairs_of
from segsmith_shared.database.tables import Clustering, Job, JobKind
from segsmith_shared.database.tables import Pair as StoredPair
from segsmith_shared.jobs.context import Finished, FollowUp, Outcome, StepContext, Stopped
from segsmith_shared.pairs.classes import classes_of
from segsmith_shared.pairs.contact_sheet import overlay, sheet
from segsmith_shared.pairs.pair import ByteArray
from segsmith_shared.plans.budget import with_images
from segsmith_shared.plans.presets import Preset
from segsmith_shared.plans.specs import ClusterJobSpec, TrainingOrder, TrainJobSpec
from segsmith_shared.storage.pair_arrays import read_pairs
from segsmith_shared.vision.features import FeatureExtractor, Interrupted, describe_extractor, extractor_for
from segsmith_worker.clustering import ClusteringResult, cluster, import_clustering, pair_features, with_others

THUMBNAIL_PX = 96
SHEET_COLUMNS, SHEET_ROWS = 8, 4


def run(context: StepContext) -> Outcome:
    """One slice: features, k-means (or the given assignment), sheets, follow-up train jobs.

    k-means divides the pairs that show a lesion; those without join the cluster with the nearest centroid, so that
    every cluster has lesions to learn from.
    """
    spec = ClusterJobSpec.model_validate(context.spec)
    with context.reading() as session:
        stored = pairs_of(session, spec.pairs)
        classes = classes_of(class_names_of(session, spec.pairs))
    extractor = extractor_for(context.engine, context.objects, allow_stand_in=spec.allow_stand_ins)
    try:
        features, thumbnails = _features(context, stored, classes, extractor)
        result = _clustered(spec, stored, features)
    except Interrupted:
        return Stopped(state={})
    clustering = _row(context, spec, stored, extractor, result)
    if result.centroids is not None:
        clustering.centroids_digest = context.objects.put_bytes(save({"centroids": result.centroids}))
    return Finished(
        outputs={"clustering_id": str(clustering.id), "cluster_count": clustering.cluster_count},
        rows=[clustering],
        artifacts=[_sheet(context, index, result, thumbnails) for index in range(clustering.cluster_count)],
        follow_ups=_train_jobs(context, spec, clustering.id, result),
    )


def _features(
    context: StepContext, stored: Sequence[StoredPair], classes: int, extractor: FeatureExtractor
) -> tuple[NDArray[np.float32], list[Image.Image]]:
    """Features (n, 2·dimension) of pictures in their own sizes, one in memory at a time; a thumbnail of each."""
    features, thumbnails = [], []
    for done, pair in enumerate(read_pairs(context.objects, stored, classes), start=1):
        features.append(pair_features(pair.image[None], pair.lesions[None], extractor))
        thumbnails.append(overlay(_reduced(pair.image), pair.label))
        context.progress(done, len(stored), "pairs")
        if context.stop_requested():
            raise Interrupted
    return np.concatenate(features), thumbnails


def _reduced(image: ByteArray) -> Image.Image:
    return Image.fromarray(image).resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)


def _clustered(spec: ClusterJobSpec, stored: Sequence[StoredPair], features: NDArray[np.float32]) -> ClusteringResult:
    wanted = spec.clustering
    if wanted.imported is not None:
        return import_clustering(wanted.imported, [pair.name for pair in stored], features)
    with_lesion = np.array([pair.lesion_fraction > 0 for pair in stored])
    found = cluster(
        features[with_lesion],
        wanted.k,
        seed=spec.seed,
        minimum_cluster_size=wanted.minimum_cluster_size,
        silhouette_counts=wanted.silhouette_ks,
    )
    return found if with_lesion.all() else with_others(found, features, with_lesion)


def _row(
    context: StepContext,
    spec: ClusterJobSpec,
    stored: Sequence[StoredPair],
    extractor: FeatureExtractor,
    result: ClusteringResult,
) -> Clustering:
    assignments = {str(pair.id): int(index) for pair, index in zip(stored, result.assignments, strict=True)}
    return Clustering(
        version_id=spec.pairs.version_id,
        job_id=context.job_id,
        cluster_count=len(result.sizes),
        method=spec.clustering.method,
        extractor=describe_extractor(extractor),
        assignments=assignments,
        report=result.report(),
    )


def _sheet(
    context: StepContext, index: int, result: ClusteringResult, thumbnails: Sequence[Image.Image]
) -> tuple[str, str, str, int]:
    """A contact sheet of one cluster's first pairs, stored as an artifact."""
    members = np.flatnonzero(result.assignments == index)[: SHEET_COLUMNS * SHEET_ROWS]
    rows = [
        [thumbnails[member] for member in members[start : start + SHEET_COLUMNS]]
        for start in range(0, len(members), SHEET_COLUMNS)
    ]
    picture = sheet(rows, cell_px=THUMBNAIL_PX)
    return f"cluster-{index}.png", "image/png", context.objects.put_bytes(picture, "image/png"), len(picture)


def _train_jobs(
    context: StepContext, spec: ClusterJobSpec, clustering_id: UUID, result: ClusteringResult
) -> list[FollowUp]:
    return [
        FollowUp(
            job=Job(
                pipeline_id=context.pipeline_id,
                kind=JobKind.TRAIN,
                name=_training_name(order, index, len(result.sizes)),
                queue="gpu",
                spec=TrainJobSpec(
                    pairs=spec.pairs,
                    geometry=spec.geometry,
                    recipe=order.recipe,
                    preset=preset_of_order(order, len(result.sizes)),
                    seed=spec.seed,
                    torch_threads=spec.torch_threads,
                    clustering_id=clustering_id if order.conditioned or not order.together else None,
                    cluster=index,
                    warm_start_job_id=order.warm_start_job_id,
                ).model_dump(mode="json"),
            ),
            needs=[order.warm_start_job_id] if order.warm_start_job_id else [],
            needed_by=list(order.needed_by),
        )
        for order in spec.trainings
        for index in ([None] if order.together else range(len(result.sizes)))
    ]


def preset_of_order(order: TrainingOrder, clusters: int) -> dict[str, Any]:
    """The order's preset; of one network for all clusters, with as many images as theirs would see together."""
    if order.pooled is None:
        return order.preset
    preset = Preset.model_validate(order.preset)
    training = with_images(preset.training, order.pooled.of(clusters))
    return preset.model_copy(update={"training": training}).model_dump(mode="json")


def _training_name(order: TrainingOrder, cluster: int | None, count: int) -> str:
    if cluster is None and not order.conditioned:
        return f"train {order.recipe}"
    if cluster is None:
        return f"train {order.recipe}, conditioned on {count} clusters"
    return f"train {order.recipe}, cluster {cluster + 1} of {count}"
