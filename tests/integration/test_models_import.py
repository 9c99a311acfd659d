"""The authors' checkpoints become models that draw at once, or that trainings start from."""

import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch
from sqlmodel import col, select

from segsmith_shared.database.pipelines import plan_for, submit_pipeline
from segsmith_shared.database.session import session_scope
from segsmith_shared.database.tables import Clustering, Generation, Job, JobKind, JobStatus, Model, Sample
from segsmith_shared.plans.pipeline import PipelinePlan
from segsmith_shared.plans.recipes import ModelsDoNotFit
from segsmith_shared.plans.specs import ImportModelSpec, PartRef, PipelineSpec, Recipe
from segsmith_shared.plans.weights import GUIDED_DIFFUSION, WeightsCorrupt, WeightsMissing
from segsmith_shared.problems import NotFound, Problem
from segsmith_shared.storage import checkpoints
from segsmith_worker.diffusion.import_guided import CheckpointDoesNotFit
from segsmith_worker.steps import generate, import_model
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.guided import checkpoint_file, guided_network, pictures_only, randomised
from tests.fixtures.weight_imports import WeightImports

SOURCES = 3
QUICK = {"sampling": {"respaced_steps": 4, "jump_length": 2, "jump_visits": 1, "batch": 2, "samples_per_source": 1}}


def imported(imports: WeightImports, file: Path, **told: Any) -> Model:
    spec = ImportModelSpec.model_validate({"upload_id": imports.upload(file), "told": {"side_px": 32, **told}})
    job = imports.carry_out(JobKind.IMPORT_MODEL, spec, import_model.run)
    with session_scope(imports.engine) as session:
        return session.get_one(Model, UUID(job.outputs["model_id"]))


def recipe(*models: Model, **fields: Any) -> Recipe:
    return Recipe.model_validate(
        {"strategy": "imported", "model_ids": [model.id for model in models], "overrides": QUICK} | fields
    )


def request(imports: WeightImports, *recipes: Recipe, sources: int = SOURCES) -> PipelineSpec:
    version_id = drawn_version(imports.engine, imports.objects, sources)
    return PipelineSpec(
        pairs=PartRef(version_id=version_id), recipes=recipes, evaluation=None, segmentation=None, torch_threads=1
    )


def planned(imports: WeightImports, spec: PipelineSpec) -> PipelinePlan:
    with session_scope(imports.engine) as session:
        return plan_for(session, spec, torch_threads=1)


def test_a_checkpoint_of_the_authors_becomes_a_model_with_what_its_name_tells(
    weight_imports: WeightImports, tmp_path: Path
) -> None:
    weights = randomised(guided_network(attention_sides_px=(16, 8)))
    model = imported(weight_imports, checkpoint_file(tmp_path, weights))
    assert (model.recipe, model.cluster, model.weights, model.images_seen) == ("imported", 3, "raw", 110_000)
    assert model.preset["name"] == "paper-256-2023"
    assert model.preset["network"]["attention_sides_px"] == [16, 8]
    tensors, facts = checkpoints.load(weight_imports.objects, model.checkpoint_digest)
    assert facts["file_name"] == "cluster_3_model_110000.pt"
    assert tensors.keys() == {f"average.{name}" for name in weights}
    assert all(torch.equal(tensors[f"average.{name}"], tensor) for name, tensor in weights.items())


def test_what_the_caller_says_goes_before_what_the_name_says(weight_imports: WeightImports, tmp_path: Path) -> None:
    file = checkpoint_file(tmp_path, randomised(guided_network()), "ema_0.9999_000010.pt")
    assert imported(weight_imports, file).weights == "ema"
    told = imported(weight_imports, file, weights="raw", cluster=7, images_seen=0)
    assert (told.weights, told.cluster, told.images_seen) == ("raw", 7, 0)


@pytest.mark.timeout(300)
def test_a_pipeline_draws_at_once_with_imported_models(weight_imports: WeightImports, tmp_path: Path) -> None:
    files = [
        checkpoint_file(tmp_path, randomised(guided_network(), seed), f"cluster_{seed}_model_10.pt") for seed in (0, 1)
    ]
    models = [imported(weight_imports, file) for file in files]
    spec = request(weight_imports, recipe(*models))
    with session_scope(weight_imports.engine) as session:
        pipeline = submit_pipeline(session, spec, torch_threads=1)
        kinds = session.exec(select(Job.kind).where(Job.pipeline_id == pipeline.id).order_by(col(Job.kind))).all()
    assert list(kinds) == ["generate", "report"]
    assert weight_imports.next_job(generate.run).status == JobStatus.SUCCEEDED
    with session_scope(weight_imports.engine) as session:
        generation = session.exec(select(Generation).where(Generation.pipeline_id == pipeline.id)).one()
        samples = session.exec(select(Sample).where(Sample.generation_id == generation.id)).all()
    assert generation.counts["requested"] == len(samples) == SOURCES
    assert {sample.model_id for sample in samples} <= {model.id for model in models}


def clustered_elsewhere(imports: WeightImports, models: list[Model], cluster: int | None) -> None:
    """As if these had been trained on other pairs: each on the cluster, or, with None, told one of three."""
    version_id = drawn_version(imports.engine, imports.objects, 2, seed=9)
    with session_scope(imports.engine) as session:
        for model in models:
            clustering = Clustering(version_id=version_id, job_id=model.job_id, cluster_count=3, method="k-means")
            session.add(clustering)
            session.flush()
            stored = session.get_one(Model, model.id)
            stored.clustering_id, stored.cluster = clustering.id, cluster
            session.add(stored)


def drawn_by(imports: WeightImports, spec: PipelineSpec) -> list[Sample]:
    """The samples of the pipeline's generate job."""
    with session_scope(imports.engine) as session:
        pipeline_id = submit_pipeline(session, spec, torch_threads=1).id
    assert imports.next_job(generate.run).status == JobStatus.SUCCEEDED
    with session_scope(imports.engine) as session:
        query = select(Sample).join(Generation).where(Generation.pipeline_id == pipeline_id)
        return list(session.exec(query))


@pytest.mark.timeout(300)
def test_models_of_earlier_runs_draw_pairs_that_their_clusterings_never_saw(
    weight_imports: WeightImports, tmp_path: Path
) -> None:
    files = [checkpoint_file(tmp_path, randomised(guided_network(), seed), f"{seed}.pt") for seed in (0, 1)]
    models = [imported(weight_imports, file) for file in files]
    clustered_elsewhere(weight_imports, models, cluster=0)
    samples = drawn_by(weight_imports, request(weight_imports, recipe(*models), sources=6))
    assert {sample.model_id for sample in samples} == {model.id for model in models}


@pytest.mark.timeout(300)
def test_a_model_that_is_told_clusters_draws_other_pairs_in_the_manner_of_any(
    weight_imports: WeightImports, tmp_path: Path
) -> None:
    weights = randomised(guided_network())
    model = imported(weight_imports, checkpoint_file(tmp_path, weights))
    clustered_elsewhere(weight_imports, [model], cluster=None)
    told = {f"average.{name}": tensor for name, tensor in weights.items()}
    told["average.label_emb.weight"] = torch.ones(3 + 1, 128)
    with session_scope(weight_imports.engine) as session:
        stored = session.get_one(Model, model.id)
        stored.checkpoint_digest = checkpoints.save(weight_imports.objects, told, {})
        session.add(stored)
    guided = {**QUICK, "sampling.guidance": 2.0}
    samples = drawn_by(weight_imports, request(weight_imports, recipe(model, overrides=guided), sources=6))
    assert len({sample.cluster for sample in samples}) > 1
    assert {sample.cluster for sample in samples} <= {0, 1, 2}


def test_the_public_model_of_pictures_is_widened_to_pairs(weight_imports: WeightImports, tmp_path: Path) -> None:
    weights = pictures_only(randomised(guided_network()))
    model = imported(weight_imports, checkpoint_file(tmp_path, weights, "256x256_diffusion_uncond.pt"))
    tensors, _ = checkpoints.load(weight_imports.objects, model.checkpoint_digest)
    assert tensors["average.input_blocks.0.0.weight"].shape[1] == 4
    assert tensors["average.out.2.weight"].shape[0] == 8
    assert (model.cluster, model.images_seen) == (None, 0)


def test_the_pretrained_file_becomes_a_model_without_being_sent_again(
    weight_imports: WeightImports, tmp_path: Path
) -> None:
    spec = ImportModelSpec.model_validate({"pretrained": GUIDED_DIFFUSION, "told": {"side_px": 32}})
    with pytest.raises(WeightsMissing) as caught:
        weight_imports.carry_out(JobKind.IMPORT_MODEL, spec, import_model.run)
    assert f"segsmith weights fetch {GUIDED_DIFFUSION}" in caught.value.hint
    weight_imports.has(GUIDED_DIFFUSION, pictures_only(randomised(guided_network())))
    job = weight_imports.carry_out(JobKind.IMPORT_MODEL, spec, import_model.run)
    assert job.outputs["channels_given"] == 3


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize(
    "change",
    [
        "truncated",
        "wrong shape",
        "extra key",
        "code",
        "claims terabytes",
        "text",
        "optimiser",
        "a side that cannot be halved",
    ],
)
def test_a_spoilt_or_hostile_checkpoint_leaves_a_reason_and_no_model(
    weight_imports: WeightImports, tmp_path: Path, change: str
) -> None:
    weights: dict[str, Any] = dict(randomised(guided_network()))
    mark = tmp_path / "was-run"
    if change == "wrong shape":
        weights["out.2.bias"] = torch.zeros(9)
    elif change == "extra key":
        weights["label_emb.weight"] = torch.zeros(10, 128)
    elif change == "code":
        weights["zebra"] = Hostile(mark)
    elif change == "claims terabytes":
        weights["out.2.bias"] = torch.zeros(1).expand(10**12)
    elif change == "optimiser":
        weights = {"state": {0: {"step": 1}}, "param_groups": []}
    file = checkpoint_file(tmp_path, weights)
    if change == "truncated":
        file.write_bytes(file.read_bytes()[:-10_000])
    elif change == "text":
        file.write_text("not a checkpoint")
    with pytest.raises((WeightsCorrupt, CheckpointDoesNotFit)) as caught:
        imported(weight_imports, file, side_px=50 if change == "a side that cannot be halved" else 32)
    assert caught.value.detail
    assert caught.value.hint
    assert not mark.exists()
    with session_scope(weight_imports.engine) as session:
        assert session.exec(select(Model)).all() == []
        assert session.exec(select(Job.status)).all() == ["failed"]


def test_models_that_cannot_draw_together_are_refused_before_anything_runs(
    weight_imports: WeightImports, tmp_path: Path
) -> None:
    one = imported(weight_imports, checkpoint_file(tmp_path, randomised(guided_network())))
    other = imported(weight_imports, checkpoint_file(tmp_path, randomised(guided_network((16, 8))), "b.pt"))
    twin = imported(weight_imports, checkpoint_file(tmp_path, randomised(guided_network(), 2), "c.pt"))
    own = {**QUICK, "sampling.cluster_choice": "own"}
    refused: list[tuple[Recipe, type[Problem], str]] = [
        (recipe(one, other), ModelsDoNotFit, "another network"),
        (recipe(one, overrides={"network.side_px": 64}), ModelsDoNotFit, "another network"),
        (recipe(one, overrides={"diffusion.timesteps": 500}), ModelsDoNotFit, "draw as they were trained"),
        (recipe(one, twin, overrides=own), ModelsDoNotFit, "own is not known"),
        (recipe(one).model_copy(update={"model_ids": (one.job_id,)}), NotFound, "no model"),
        (Recipe(warm_start_model_id=one.id), ModelsDoNotFit, "another network"),
    ]
    for wrong, problem, words in refused:
        spec = request(weight_imports, wrong).model_copy(update={"allow_stand_ins": True})
        with pytest.raises(problem, match=words):
            planned(weight_imports, spec)
    plan = planned(weight_imports, request(weight_imports, recipe(one, twin)))
    assert (plan.cost[0].what, plan.cost[0].amount) == ("Diff: imported models", 2)


@pytest.mark.parametrize("strategy", ["full", "per_cluster"])
def test_a_training_starts_from_an_imported_model_of_the_same_network(
    weight_imports: WeightImports, tmp_path: Path, strategy: str
) -> None:
    model = imported(weight_imports, checkpoint_file(tmp_path, randomised(guided_network())))
    wanted = Recipe.model_validate(
        {
            "preset": "paper-256-2024",
            "overrides": {"network": guided_network().model_dump(), "training.warm_start_images": 0, **QUICK},
            "strategy": strategy,
            "warm_start_model_id": model.id,
        }
    )
    spec = request(weight_imports, wanted).model_copy(update={"allow_stand_ins": True})
    spec = spec.model_copy(update={"clustering": spec.clustering.model_copy(update={"k": 2})})
    jobs = {job.kind: job.spec.model_dump() for job in planned(weight_imports, spec).jobs}
    (order,) = jobs["cluster"]["trainings"]
    assert order["warm_start_job_id"] == model.job_id
