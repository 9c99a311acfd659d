"""The train job: one diffusion model on one cluster's pairs (or all), in slices that each end in a checkpoint."""

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import torch
from sqlmodel import Session, col, delete, select

from segsmith_shared.database.pairs import pairs_of
from segsmith_shared.database.tables import Checkpoint, Clustering, Model
from segsmith_shared.database.tables import Pair as StoredPair
from segsmith_shared.jobs.context import Finished, Outcome, SliceDone, StepContext, Stopped, StopReason
from segsmith_shared.plans.presets import Preset, learns_from_negatives
from segsmith_shared.plans.specs import TrainJobSpec
from segsmith_shared.problems import NotFound
from segsmith_shared.randomness import seed_for
from segsmith_shared.storage import checkpoints
from segsmith_shared.storage.pair_arrays import read_squares
from segsmith_worker.device import device_name
from segsmith_worker.diffusion import compiling
from segsmith_worker.diffusion.execution import Execution
from segsmith_worker.diffusion.memory import in_memory
from segsmith_worker.diffusion.training import StepReport, TrainingState, train
from segsmith_worker.steps import ranks
from segsmith_worker.steps.curve import Curve
from segsmith_worker.steps.training_preview import Previews

WHOLE = -1
"""Position of the full strategy's model among the clusters, for its seed."""
WORK_PER_PREPARATION = 10
"""A slice of a compiled training, or of one on several devices, lasts at least so many times what it took to begin."""


def run(context: StepContext) -> Outcome:
    """Train until the slice is over or `images_total` are seen; resumes bit-equal from the last checkpoint."""
    spec = TrainJobSpec.model_validate(context.spec)
    preset = Preset.model_validate(spec.preset)
    with context.reading() as session:
        stored = training_pairs(session, spec, lesions_only=not learns_from_negatives(preset.training))
        clusters, cluster_count = clusters_of(session, spec, stored)
    side_px, classes = preset.network.side_px, preset.network.classes
    squares = torch.from_numpy(read_squares(context.objects, stored, side_px, spec.geometry, classes))
    seed = seed_for(spec.seed, f"train {spec.recipe}", WHOLE if spec.cluster is None else spec.cluster)
    with in_memory("The network with its average and its optimiser"):
        state = _state(context, spec, preset, seed, cluster_count)
    curve = Curve.from_document((context.slice_state or {}).get("curve"), preset.training.images_total)
    previews = Previews(context, preset, squares, seed)
    means: dict[str, bool | int] = dict((context.slice_state or {}).get("means", {}))
    worth_compiling = compiling.pays(context.settings.torch_compile, state.device.type, preset)
    compiled = worth_compiling and bool(means.get("compiled", True))  # what failed once is not tried in every slice
    size = ranks.team_size(context.settings.training_devices, preset.training.batch)
    order = ranks.Order(spec.preset, seed, clusters, cluster_count, len(squares), spec.torch_threads, compiled)
    worth_while = _worth_while(costly=compiled or size > 1)

    def on_step(report: StepReport) -> bool:
        curve.add(report.images_seen, report.loss)
        context.progress(report.images_seen, preset.training.images_total, "images", loss=round(report.loss, 5))
        previews.show_when_due(state, report.images_seen)
        enough = worth_while()
        return context.stop_requested() is not None or (enough and context.slice_is_over())

    def say(text: str, **changed: bool | int) -> None:
        means.update(changed)
        context.message(text, **changed)

    until = preset.training.images_total
    with ranks.team(size, order, state, squares) as team:
        execution = Execution(team=team, compiled=compiled, say=say)
        train(
            state,
            squares,
            preset,
            seed=seed,
            until_images_seen=until,
            clusters=clusters,
            on_step=on_step,
            execution=execution,
        )
    return _outcome(context, spec, preset, state, curve, len(stored), means)


def _worth_while(*, costly: bool) -> Callable[[], bool]:
    """To be asked after each step: whether the slice is long enough for what it took to get ready for the first."""
    began = time.monotonic()
    ready_after: float | None = None

    def asked() -> bool:
        nonlocal ready_after
        passed = time.monotonic() - began
        ready_after = passed if ready_after is None else ready_after
        return not costly or passed >= WORK_PER_PREPARATION * ready_after

    return asked


def training_pairs(session: Session, spec: TrainJobSpec, *, lesions_only: bool) -> list[StoredPair]:
    """The pairs of the job's cluster, or all of them; `lesions_only` leaves negatives out.

    Raises NotFound when the clustering is gone.
    """
    stored = pairs_of(session, spec.pairs, lesions_only=lesions_only)
    if spec.cluster is None:
        return stored
    assignments = _clustering(session, spec).assignments
    return [pair for pair in stored if assignments[str(pair.id)] == spec.cluster]


def clusters_of(session: Session, spec: TrainJobSpec, stored: Sequence[StoredPair]) -> tuple[list[int] | None, int]:
    """The cluster of each pair and how many there are, for a network that is told them; else None and 0."""
    if spec.clustering_id is None or spec.cluster is not None:
        return None, 0
    clustering = _clustering(session, spec)
    return [clustering.assignments[str(pair.id)] for pair in stored], clustering.cluster_count


def _clustering(session: Session, spec: TrainJobSpec) -> Clustering:
    clustering = session.get(Clustering, spec.clustering_id)
    if clustering is None:
        raise NotFound(f"There is no clustering {spec.clustering_id}.")
    return clustering


def _state(context: StepContext, spec: TrainJobSpec, preset: Preset, seed: int, clusters: int) -> TrainingState:
    if context.slice_state and context.slice_state.get("checkpoint"):
        tensors, _ = checkpoints.load(context.objects, context.slice_state["checkpoint"])
        return TrainingState.from_tensors(preset, tensors, device=device_name())
    warm_start = None if spec.warm_start_job_id is None else _averaged_weights(context, spec.warm_start_job_id)
    return TrainingState.start(preset, seed, device=device_name(), warm_start=warm_start, clusters=clusters)


def _averaged_weights(context: StepContext, job_id: UUID) -> dict[str, torch.Tensor]:
    """The weights of the model that another training made. Raises NotFound when it is gone."""
    with context.reading() as session:
        model = session.exec(select(Model).where(Model.job_id == job_id)).first()
    if model is None:
        raise NotFound(f"Training {job_id}, whose model this one starts from, has none.")
    tensors, _ = checkpoints.load(context.objects, model.checkpoint_digest, groups=["average"])
    return {name.removeprefix("average."): tensor for name, tensor in tensors.items()}


def _outcome(
    context: StepContext,
    spec: TrainJobSpec,
    preset: Preset,
    state: TrainingState,
    curve: Curve,
    pair_count: int,
    means: dict[str, bool | int],
) -> Outcome:
    finished = state.images_seen >= preset.training.images_total
    reason = context.stop_requested()
    if reason == StopReason.CANCEL and not finished:
        return Stopped(state=context.slice_state or {})  # nobody will go on from here: spare the checkpoint
    checkpoint = _checkpoint(context, spec, state)
    slice_state = {"checkpoint": checkpoint.manifest_digest, "curve": curve.as_document(), "means": means}

    def replace_older(session: Session) -> None:
        _drop_older(session, context.job_id)
        session.add(checkpoint)

    if finished:
        model = _model(context, spec, state, curve, checkpoint, pair_count)
        outputs = {"model_id": str(model.id), "images_seen": state.images_seen, "final_loss": curve.last_loss}
        return Finished(outputs=outputs, rows=[model], in_transaction=replace_older)
    if reason is not None:
        return Stopped(state=slice_state, in_transaction=replace_older)
    return SliceDone(state=slice_state, in_transaction=replace_older)


def _checkpoint(context: StepContext, spec: TrainJobSpec, state: TrainingState) -> Checkpoint:
    tensors = state.to_tensors()
    manifest: dict[str, Any] = {
        "kind": "training",
        "recipe": spec.recipe,
        "cluster": spec.cluster,
        "images_seen": state.images_seen,
        "preset": spec.preset,
    }
    digest = checkpoints.save(context.objects, tensors, manifest)
    return Checkpoint(
        job_id=context.job_id,
        images_seen=state.images_seen,
        manifest_digest=digest,
        size_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
    )


def _drop_older(session: Session, job_id: UUID) -> None:
    """The newest checkpoint and the milestones stay; unreferenced objects go at the next collection."""
    session.exec(delete(Checkpoint).where(col(Checkpoint.job_id) == job_id, col(Checkpoint.milestone).is_(False)))


def _model(
    context: StepContext,
    spec: TrainJobSpec,
    state: TrainingState,
    curve: Curve,
    checkpoint: Checkpoint,
    pair_count: int,
) -> Model:
    return Model(
        job_id=context.job_id,
        recipe=spec.recipe,
        clustering_id=spec.clustering_id,
        cluster=spec.cluster,
        preset=spec.preset,
        images_seen=state.images_seen,
        training_images=pair_count,
        weights="ema",
        checkpoint_digest=checkpoint.manifest_digest,
        curve=curve.as_document(),
    )
