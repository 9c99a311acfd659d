"""Which stored models a recipe may draw with, or start from."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from segsmith_shared.plans.pipeline import plan_pipeline
from segsmith_shared.plans.presets import PresetOverrideRejected, preset_named
from segsmith_shared.plans.recipes import ModelsDoNotFit, StoredModel
from segsmith_shared.plans.specs import PartRef, PipelineSpec, Recipe
from segsmith_shared.problems import InvalidInput

ONE, OTHER, TOLD, TWO_CLASSES = uuid4(), uuid4(), uuid4(), uuid4()
TINY = preset_named("tiny-cpu")
MODELS = {
    ONE: StoredModel(uuid4(), TINY),
    OTHER: StoredModel(uuid4(), TINY),
    TOLD: StoredModel(uuid4(), TINY, told_clusters=True),
    TWO_CLASSES: StoredModel(uuid4(), TINY.with_overrides({"network.classes": 2})),
}
GUIDED, OWN = {"sampling.guidance": 2.0}, {"sampling.cluster_choice": "own"}


def drawing(*model_ids: UUID, **overrides: Any) -> Recipe:
    return Recipe(strategy="imported", model_ids=model_ids, overrides=overrides)


def planned(recipe: Recipe, classes: int = 1) -> list[str]:
    """The kinds of the jobs that the recipe alone becomes, on pairs whose labels tell so many classes apart."""
    spec = PipelineSpec(
        pairs=PartRef(version_id=uuid4()), recipes=(recipe,), evaluation=None, segmentation=None, allow_stand_ins=True
    )
    return [job.kind for job in plan_pipeline(spec, uuid4(), 20, 1, MODELS, classes=classes).jobs]


@pytest.mark.parametrize("recipe", [drawing(ONE), drawing(ONE, OTHER), drawing(ONE, **OWN), drawing(TOLD, **GUIDED)])
def test_models_that_are_there_draw_without_clusters_or_training(recipe: Recipe) -> None:
    assert planned(recipe) == ["generate", "report"]


@pytest.mark.parametrize(
    ("recipe", "problem", "words"),
    [
        (drawing(ONE, TOLD), ModelsDoNotFit, "draws alone"),
        (drawing(ONE, OTHER, **OWN), ModelsDoNotFit, "own is not known"),
        (drawing(TOLD, **OWN), ModelsDoNotFit, "own is not known"),
        (drawing(ONE, **GUIDED), InvalidInput, "told no cluster"),
        (drawing(ONE, **{"training.batch": 2}), ModelsDoNotFit, "draw as they were trained"),
        (Recipe(warm_start_model_id=TOLD), ModelsDoNotFit, "told clusters"),
        (Recipe(preset="small-64", warm_start_model_id=ONE), ModelsDoNotFit, "another network"),
        (drawing(TWO_CLASSES), ModelsDoNotFit, "of 2 classes, but those of the pairs tell apart one class"),
        (Recipe(warm_start_model_id=TWO_CLASSES), ModelsDoNotFit, "of 2 classes"),
        (Recipe(overrides={"network.classes": 2}), PresetOverrideRejected, "network.classes"),
        (Recipe(overrides={"network": {"classes": 2}}), PresetOverrideRejected, "network.classes"),
    ],
)
def test_models_that_do_not_fit_are_refused_before_anything_runs(
    recipe: Recipe, problem: type[InvalidInput], words: str
) -> None:
    with pytest.raises(problem, match=words) as caught:
        planned(recipe)
    assert caught.value.hint


@pytest.mark.parametrize("strategy", ["per_cluster", "full", "conditioned"])
def test_every_way_of_training_can_start_from_a_model(strategy: str) -> None:
    recipe = Recipe.model_validate(
        {"strategy": strategy, "warm_start_model_id": ONE, "overrides": {"training.warm_start_images": 0}}
    )
    spec = PipelineSpec(pairs=PartRef(version_id=uuid4()), recipes=(recipe,), segmentation=None)
    first = plan_pipeline(spec, uuid4(), 20, 1, MODELS).jobs
    jobs = {job.kind: job.spec.model_dump() for job in first}
    assert jobs["cluster"]["trainings"][0]["warm_start_job_id"] == MODELS[ONE].job_id


@pytest.mark.parametrize("recipe", [drawing(TWO_CLASSES), Recipe(warm_start_model_id=TWO_CLASSES), Recipe()])
def test_models_of_as_many_classes_as_the_pairs_have_fit(recipe: Recipe) -> None:
    assert "generate" in planned(recipe, classes=2)


def test_models_of_one_class_are_refused_for_pairs_of_two() -> None:
    with pytest.raises(ModelsDoNotFit, match="one class, but those of the pairs tell apart 2 classes"):
        planned(drawing(ONE), classes=2)


def test_the_networks_of_a_pipeline_draw_as_many_classes_as_the_pairs_labels_tell_apart() -> None:
    spec = PipelineSpec(pairs=PartRef(version_id=uuid4()), recipes=(Recipe(),), evaluation=None, segmentation=None)
    plans = [plan_pipeline(spec, uuid4(), 20, 1, classes=classes) for classes in (1, 3)]
    presets = [plan.generations[0].order.preset for plan in plans]
    assert [preset["network"]["classes"] for preset in presets] == [1, 3]
    training = [plan.jobs[0].spec.model_dump()["trainings"][0]["preset"] for plan in plans]
    assert training == presets
    operations = [next(line.amount for line in plan.cost if line.unit == "FLOP") for plan in plans]
    assert operations[0] < operations[1]  # the first and the last layer are wider
