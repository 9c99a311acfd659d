"""What a person learns from a plan before anything runs."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from segsmith_shared.plans.pipeline import (
    DatasetTooSmall,
    PipelinePlan,
    TooManyToDropFrom,
    plan_pipeline,
)
from segsmith_shared.plans.presets import PresetOverrideRejected, UnknownPreset
from segsmith_shared.plans.specs import (
    ArmSpec,
    ClusteringSpec,
    NamedPart,
    PartRef,
    PipelineSpec,
    Recipe,
    SegmentationStudySpec,
)
from segsmith_shared.plans.styling import ModelCannotStyle, StylingOverrideRejected
from segsmith_shared.plans.synthetic_sets import UnknownSet
from segsmith_shared.problems import InvalidInput

PAIRS = PartRef(version_id=uuid4())
TESTS = (NamedPart(name="held out", pairs=PartRef(version_id=uuid4())),)


def planned(source_count: int = 100, *, grey: bool = False, negatives: int = 0, **fields: object) -> PipelinePlan:
    spec = PipelineSpec.model_validate(
        {"pairs": PAIRS, "tests": TESTS, "clustering": ClusteringSpec(k=4), "preset": "tiny-cpu"} | fields
    )
    return plan_pipeline(spec, uuid4(), source_count, torch_threads=2, grey=grey, negatives=negatives)


def amount(plan: PipelinePlan, what: str, unit: str) -> int:
    return next(line.amount for line in plan.cost if (line.what, line.unit) == (what, unit))


def test_every_job_needs_only_jobs_of_the_same_plan_that_come_before_it() -> None:
    known: set[UUID] = set()
    for job in planned().jobs:
        assert set(job.needs) <= known
        known.add(job.id)


def test_the_report_waits_for_every_end_and_is_made_even_when_something_failed() -> None:
    plan = planned()
    report = plan.jobs[-1]
    assert report.kind == "report"
    assert report.even_if_needs_failed
    assert {job.id for job in plan.jobs if job.kind in {"evaluate", "segment", "generate"}} == set(report.needs)


def test_per_cluster_generation_waits_for_the_clustering_which_adds_the_trainings() -> None:
    plan = planned()
    cluster = next(job for job in plan.jobs if job.kind == "cluster")
    generate = next(job for job in plan.jobs if job.kind == "generate")
    assert generate.needs == (cluster.id,)
    assert cluster.spec.model_dump()["trainings"][0]["needed_by"] == (generate.id,)


def test_the_clusters_models_start_from_one_of_all_pairs_where_the_preset_says_so() -> None:
    plan = planned(recipes=(Recipe(overrides={"training.images_total": 100, "training.warm_start_images": 900}),))
    shared = next(job for job in plan.jobs if job.kind == "train")
    cluster = next(job for job in plan.jobs if job.kind == "cluster")
    assert shared.needs == ()
    assert shared.spec.model_dump()["preset"]["training"]["images_total"] == 900
    assert cluster.spec.model_dump()["trainings"][0]["warm_start_job_id"] == shared.id
    assert amount(plan, "Diff: training (at most)", "images") == 900 + 4 * 100


def trainings(plan: PipelinePlan) -> list[dict[str, Any]]:
    cluster = next(job for job in plan.jobs if job.kind == "cluster")
    return list(cluster.spec.model_dump()["trainings"])


def test_a_model_of_all_pairs_has_nothing_to_start_from() -> None:
    plan = planned(recipes=(Recipe(strategy="full", overrides={"training.warm_start_images": 900}),))
    assert not [job for job in plan.jobs if job.kind == "train"]
    assert [order["warm_start_job_id"] for order in trainings(plan)] == [None]


@pytest.mark.parametrize("k", [1, 4, 20])
@pytest.mark.parametrize("preset", ["tiny-cpu", "small-64", "medium-128", "paper-256-2024"])
def test_one_network_sees_as_many_images_as_those_of_all_clusters_together(k: int, preset: str) -> None:
    strategies = ("per_cluster", "full", "conditioned")
    recipes = tuple(Recipe.model_validate({"name": each, "strategy": each}) for each in strategies)
    plan = planned(recipes=recipes, preset=preset, clustering=ClusteringSpec(k=k), segmentation=None)
    images = {each: amount(plan, f"{each}: training (at most)", "images") for each in strategies}
    assert images["full"] == images["conditioned"]
    whole_batches = 4 * 128 * k  # each network ends with a whole batch
    assert abs(images["full"] - images["per_cluster"]) <= whole_batches
    assert [amount(plan, f"{each}: models (at most)", "models") for each in strategies] == [k, 1, 1]
    assert [order["together"] for order in trainings(plan)] == [False, True, True]
    assert [order["conditioned"] for order in trainings(plan)][1:] == [False, True]
    assert not [note for note in plan.notes if "numbers of images" in note]


def test_the_papers_model_of_all_pairs_sees_the_200_000_images_of_its_authors() -> None:
    recipes = (Recipe(), Recipe(name="Full", strategy="full"))
    plan = planned(recipes=recipes, preset="paper-256-2023", clustering=ClusteringSpec(k=20), segmentation=None)
    assert amount(plan, "Full: training (at most)", "images") == 200_000
    assert amount(plan, "Diff: training (at most)", "images") == 20 * 110_000
    assert "Diff 2,200,000, Full 200,000" in " ".join(plan.notes)


def test_a_number_of_images_that_a_recipe_gives_is_taken_as_it_is_and_unequal_budgets_are_noted() -> None:
    given = {"training": {"images_total": 640}}
    plan = planned(recipes=(Recipe(), Recipe(name="Full", strategy="full", overrides=given)))
    assert amount(plan, "Full: training (at most)", "images") == 640
    assert trainings(plan)[1]["pooled"] is None
    assert "Full 640" in " ".join(plan.notes)


def test_guidance_costs_twice_and_needs_a_network_that_is_told_the_cluster() -> None:
    guided = {"sampling.guidance": 2.0}
    plain, twice = (
        amount(
            planned(recipes=(Recipe(strategy="conditioned", overrides=over),)), "Diff: each sample", "U-Net evaluations"
        )
        for over in ({}, guided)
    )
    assert twice == 2 * plain
    with pytest.raises(InvalidInput, match="told no cluster"):
        planned(recipes=(Recipe(overrides=guided),))


def test_a_recipe_the_papers_way_costs_960_evaluations_a_sample_on_the_sources_asked_for() -> None:
    paper = Recipe(name="Paper", preset="paper-256-2023", strategy="full", source_limit=16)
    plan = planned(recipes=(Recipe(overrides={"sampling.samples_per_source": 1}), paper))
    assert amount(plan, "Paper: each sample", "U-Net evaluations") == 960
    assert amount(plan, "Paper: all samples", "U-Net evaluations") == 960 * 16 * 3


def test_generation_fans_out_over_as_many_jobs_as_asked_and_no_more_than_there_are_sources() -> None:
    recipe = Recipe(generate_jobs=8, overrides={"sampling.samples_per_source": 1})
    assert sum(job.kind == "generate" for job in planned(recipes=(recipe,)).jobs) == 8
    few = planned(5, recipes=(recipe,))
    assert sum(job.kind == "generate" for job in few.jobs) == 5


def test_each_arm_is_trained_once_per_seed_after_the_sets_it_trains_on() -> None:
    study = SegmentationStudySpec(seeds=2)
    plan = planned(segmentation=study)
    generate = {job.id for job in plan.jobs if job.kind == "generate"}
    segments = [job for job in plan.jobs if job.kind == "segment"]
    assert len(segments) == 3 * 2
    assert [set(job.needs) for job in segments] == [set(), set(), generate, generate, generate, generate]
    assert len({job.spec.model_dump()["seed"] for job in segments}) == 2


def test_segmentation_does_not_wait_for_evaluation_unless_near_copies_are_to_be_dropped() -> None:
    jobs = planned().jobs
    needed = {job_id for job in jobs if job.kind == "segment" for job_id in job.needs}
    assert not needed & {job.id for job in jobs if job.kind == "evaluate"}


def test_where_near_copies_are_dropped_an_arm_is_trained_after_the_evaluation_of_each_set_it_trains_on() -> None:
    study = SegmentationStudySpec(
        seeds=1,
        arms=(
            ArmSpec(name="real"),
            ArmSpec(name="one", real=False, sets=("Diff-1",)),
            ArmSpec(name="both", real=False, sets=("Diff-2",)),
            ArmSpec(name="second alone", real=False, sets=("Diff-sample-2",)),
        ),
    )
    recipe = Recipe(overrides={"sampling.samples_per_source": 2})
    plan = planned(segmentation=study, recipes=(recipe,), drop_near_copies=True)
    first, second = (job.id for job in plan.jobs if job.kind == "evaluate")
    assert [set(job.needs) for job in plan.jobs if job.kind == "segment"] == [
        set(),
        {first},
        {first, second},
        {second},
    ]
    assert all(job.spec.model_dump()["drop_near_copies"] for job in plan.jobs if job.kind == "evaluate")
    known: set[UUID] = set()
    for job in plan.jobs:
        assert set(job.needs) <= known
        known.add(job.id)


def test_near_copies_cannot_be_dropped_by_a_run_that_evaluates_nothing() -> None:
    with pytest.raises(ValidationError, match="drop_near_copies needs"):
        planned(drop_near_copies=True, evaluation=None)


def test_leaving_copies_out_of_a_set_that_is_checked_in_part_is_refused_before_anything_runs() -> None:
    with pytest.raises(TooManyToDropFrom, match="of the 6,000 pairs 2,500"):
        planned(6000, drop_near_copies=True)
    assert planned(6000).jobs
    assert planned(2500, drop_near_copies=True).jobs


def test_more_clusters_than_pairs_are_refused_with_what_to_do() -> None:
    with pytest.raises(DatasetTooSmall) as refused:
        planned(3)
    assert "at most 3" in refused.value.hint


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs_to_train_on_are_refused_with_how_many_it_takes(count: int) -> None:
    for k in (1, 4):
        with pytest.raises(DatasetTooSmall, match="at least two pairs are needed, four with a test part") as refused:
            planned(count, clustering=ClusteringSpec(k=k))
        assert "--test-fraction 0" in refused.value.hint
        assert "--test" in refused.value.hint


def test_an_arm_of_a_set_that_no_recipe_makes_is_refused_by_name() -> None:
    study = SegmentationStudySpec(arms=(ArmSpec(name="ghost", real=False, sets=("Diff-9",)),))
    with pytest.raises(UnknownSet, match="Diff-9"):
        planned(segmentation=study)


def test_a_study_without_anything_to_test_on_is_refused() -> None:
    with pytest.raises(InvalidInput, match="test"):
        planned(tests=())


def test_an_unknown_preset_or_override_is_refused_before_anything_runs() -> None:
    with pytest.raises(UnknownPreset):
        planned(preset="huge")
    with pytest.raises(PresetOverrideRejected, match="learning_rat"):
        planned(recipes=(Recipe(overrides={"training.learning_rat": 1}),))


def test_a_typo_in_a_request_is_noticed() -> None:
    with pytest.raises(ValidationError, match="sed"):
        PipelineSpec.model_validate({"pairs": PAIRS, "sed": 1})


def test_two_recipes_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="same name"):
        PipelineSpec(pairs=PAIRS, recipes=(Recipe(), Recipe()))


def test_labels_to_draw_to_are_refused_where_none_are_exchanged() -> None:
    with pytest.raises(InvalidInput, match="draws its own"):
        planned(recipes=(Recipe(labels_from=PAIRS),))


STYLED = Recipe(styling={"batch": 4}, generate_jobs=2, overrides={"sampling.samples_per_source": 2})


def test_styled_sets_wait_for_the_plain_ones_and_are_evaluated_beside_them() -> None:
    plan = planned(recipes=(STYLED,), segmentation=None)
    generate = {job.id for job in plan.jobs if job.kind == "generate"}
    style = [job for job in plan.jobs if job.kind == "style"]
    assert [set(job.needs) for job in style] == [generate, generate]
    assert [g.recipe for g in plan.generations] == ["Diff", "Styled-Diff"]
    evaluated = {job.name: set(job.needs) for job in plan.jobs if job.kind == "evaluate"}
    assert evaluated["evaluate Styled-Diff-sample-2"] == {job.id for job in style}
    assert evaluated.keys() == {f"evaluate {name}-sample-{n}" for name in ("Diff", "Styled-Diff") for n in (1, 2)}
    assert amount(plan, "Styled-Diff: each sample", "U-Net evaluations") == 120


def test_samples_that_will_be_left_out_are_not_styled() -> None:
    plan = planned(recipes=(STYLED,), segmentation=None, drop_near_copies=True)
    checks = {job.id for job in plan.jobs if job.kind == "evaluate" and "Styled" not in job.name}
    assert all(set(job.needs) == checks for job in plan.jobs if job.kind == "style")


def test_a_styling_that_cannot_be_is_refused_before_anything_runs() -> None:
    with pytest.raises(StylingOverrideRejected, match="steps"):
        planned(recipes=(Recipe(styling={"steps": 3}),))
    with pytest.raises(ModelCannotStyle, match="whole-picture"):
        planned(recipes=(Recipe(styling={"extent": "picture"}),))
    with pytest.raises(InvalidInput, match="both called"):
        planned(recipes=(Recipe(styling={}), Recipe(name="Styled-Diff")))


def test_an_arm_may_train_on_styled_pairs() -> None:
    study = SegmentationStudySpec(seeds=1, arms=(ArmSpec(name="styled", real=False, sets=("Styled-Diff-1",)),))
    plan = planned(recipes=(Recipe(styling={}),), segmentation=study)
    (segment,) = (job for job in plan.jobs if job.kind == "segment")
    assert set(segment.needs) == {job.id for job in plan.jobs if job.kind == "style"}


def colours(plan: PipelinePlan) -> dict[str, str]:
    return {
        each.recipe: (each.order.styling.spec if each.order.styling else each.order.preset["sampling"])["colour"]
        for each in plan.generations
    }


def test_of_pairs_without_colour_samples_without_colour_are_drawn_and_styled_unless_told_otherwise() -> None:
    recipes = (Recipe(styling={}), Recipe(name="Tinted", overrides={"sampling": {"colour": "rgb"}}))
    of_grey, of_coloured = (planned(grey=grey, recipes=recipes, segmentation=None) for grey in (True, False))
    assert colours(of_grey) == {"Diff": "grey", "Styled-Diff": "grey", "Tinted": "rgb"}
    assert set(colours(of_coloured).values()) == {"rgb"}
