"""Options of the command line become the request that they mean."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from segsmith.command.request import (
    PAPER,
    RunOptions,
    parse_override,
    parse_test,
    pipeline_spec,
    read_clusters,
)
from segsmith.problems import FolderNotFound
from segsmith_shared.plans.pipeline import plan_pipeline
from segsmith_shared.plans.presets import PRESETS, preset_named
from segsmith_shared.plans.recipes import preset_of
from segsmith_shared.plans.segmentation import preset_named as segmentation_preset
from segsmith_shared.plans.specs import NamedPart, PartRef
from segsmith_shared.problems import InvalidInput, Problem

PAIRS = PartRef(version_id=uuid4())
TESTS = [NamedPart(name="test", pairs=PartRef(version_id=uuid4()))]


def test_overrides_reach_the_preset_that_runs() -> None:
    options = RunOptions(samples_per_source=2, overrides=dict([parse_override("training.batch=8")]))
    spec = pipeline_spec(options, PAIRS, TESTS)
    preset = preset_of(spec, spec.recipes[0])
    assert (preset.sampling.samples_per_source, preset.training.batch) == (2, 8)


@pytest.mark.parametrize("preset", ["tiny-cpu", "small-64", "small-64-langevin", "medium-128"])
def test_beside_the_paper_costs_960_evaluations_a_source_and_as_much_training(preset: str) -> None:
    options = RunOptions(preset=preset, k=4, beside_paper=16, overrides={"training.images_total": 5000})
    spec = pipeline_spec(options, PAIRS, TESTS)
    ours, paper = (preset_of(spec, recipe) for recipe in spec.recipes)
    cost = {(line.what, line.unit): line.amount for line in plan_pipeline(spec, uuid4(), 100, 1).cost}
    assert cost[f"{PAPER}: all samples", "U-Net evaluations"] == 16 * 960
    assert not paper.training.inpainting_aware
    assert paper.network == ours.network
    assert paper.training.images_total == 4 * ours.training.images_total + ours.training.warm_start_images
    assert paper.training.warm_start_images == 0


def test_beside_the_paper_works_on_labels_of_several_classes() -> None:
    spec = pipeline_spec(RunOptions(beside_paper=16), PAIRS, TESTS)
    assert [preset_of(spec, recipe, classes=3).network.classes for recipe in spec.recipes] == [3, 3]


def test_without_pairs_to_test_on_there_is_no_segmentation_study() -> None:
    assert pipeline_spec(RunOptions(), PAIRS, []).segmentation is None
    assert pipeline_spec(RunOptions(seeds=2), PAIRS, TESTS).segmentation is not None


@pytest.mark.parametrize("preset", PRESETS)
def test_segmentation_models_and_judges_see_pictures_at_the_side_at_which_they_are_drawn(preset: str) -> None:
    spec = pipeline_spec(RunOptions(preset=preset, quality_gate=True), PAIRS, TESTS)
    plan = plan_pipeline(spec, uuid4(), 100, 1)
    trained = [job.spec.model_dump() for job in plan.jobs if job.kind in {"segment", "judge"}]
    sides = {segmentation_preset(j["preset"]).with_overrides(j["overrides"]).side_px for j in trained}
    assert sides == {preset_named(preset).network.side_px}


def test_models_that_are_there_draw_and_are_not_trained() -> None:
    model = uuid4()
    (recipe,) = pipeline_spec(RunOptions(models=(model,)), PAIRS, TESTS).recipes
    assert (recipe.strategy, recipe.model_ids) == ("imported", (model,))
    with pytest.raises(InvalidInput, match="not trained"):
        pipeline_spec(RunOptions(models=(model,), strategy="full"), PAIRS, TESTS)
    with pytest.raises(InvalidInput, match="needs `model_ids`"):
        pipeline_spec(RunOptions(strategy="imported"), PAIRS, TESTS)


def test_the_strategy_and_the_model_to_start_from_reach_the_recipe() -> None:
    model = uuid4()
    (recipe,) = pipeline_spec(RunOptions(strategy="conditioned", start_from=model), PAIRS, TESTS).recipes
    assert (recipe.strategy, recipe.warm_start_model_id) == ("conditioned", model)
    with pytest.raises(InvalidInput, match="are not trained"):
        pipeline_spec(RunOptions(models=(model,), start_from=model), PAIRS, TESTS)


def test_near_copies_are_kept_unless_asked_otherwise() -> None:
    assert not pipeline_spec(RunOptions(), PAIRS, TESTS).drop_near_copies
    assert pipeline_spec(RunOptions(drop_near_copies=True), PAIRS, TESTS).drop_near_copies


def test_a_quality_gate_is_asked_for_by_name_and_drops_only_with_a_quantile() -> None:
    assert pipeline_spec(RunOptions(minimum_agreement_quantile=None), PAIRS, TESTS).quality_gate is None
    scores = pipeline_spec(RunOptions(quality_gate=True), PAIRS, TESTS).quality_gate
    assert scores is not None
    assert (scores.preset, scores.minimum_agreement_quantile) == ("tiny-cpu", None)
    options = RunOptions(quality_gate=True, minimum_agreement_quantile=0.1, judge_preset="small-64")
    drops = pipeline_spec(options, PAIRS, TESTS).quality_gate
    assert drops is not None
    assert (drops.preset, drops.minimum_agreement_quantile) == ("small-64", 0.1)


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(minimum_agreement_quantile=0.05),
        RunOptions(quality_gate=True, minimum_agreement_quantile=0.9),
        RunOptions(quality_gate=True, judge_preset="no-such"),
        RunOptions(overrides={"training.batches": 8}),
        RunOptions(preset="no-such"),
        RunOptions(name="../x"),
        RunOptions(overrides={"training.batch": -1}),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(options: RunOptions) -> None:
    with pytest.raises(Problem):
        pipeline_spec(options, PAIRS, TESTS)


def test_override_values_are_numbers_lists_and_words() -> None:
    assert parse_override("training.batch=8") == ("training.batch", 8)
    assert parse_override("network.channel_multipliers=[1,2]") == ("network.channel_multipliers", [1, 2])
    assert parse_override("sampling.sampler=repaint") == ("sampling.sampler", "repaint")
    with pytest.raises(InvalidInput):
        parse_override("training.batch")


def test_a_test_set_may_have_an_id_list_and_colons_in_its_path(tmp_path: Path) -> None:
    odd = tmp_path / "a:b"
    odd.mkdir()
    ids = tmp_path / "ids.txt"
    ids.touch()
    assert parse_test(f"CVC={odd}").folder == odd
    with_ids = parse_test(f"CVC={odd}:{ids}")
    assert (with_ids.name, with_ids.folder, with_ids.ids) == ("CVC", odd, ids)
    with pytest.raises(FolderNotFound):
        parse_test(f"CVC={tmp_path}/nowhere")


def test_published_clusterings_are_read_by_k(tmp_path: Path) -> None:
    file = tmp_path / "clusters.json"
    file.write_text(json.dumps({"2": {"0": ["a"], "1": ["b"]}, "1": {"0": ["a", "b"]}}))
    assert read_clusters(file, 2) == {"0": ["a"], "1": ["b"]}
    with pytest.raises(InvalidInput, match="k = 3"):
        read_clusters(file, 3)
    file.write_text(json.dumps({"0": ["a"], "1": ["b"]}))
    spec = pipeline_spec(RunOptions(clusters=read_clusters(file, 7)), PAIRS, TESTS)
    assert spec.clustering.imported == {"0": ["a"], "1": ["b"]}
    file.write_text("[]")
    with pytest.raises(InvalidInput):
        read_clusters(file, 2)


def test_what_a_model_must_have_learned_for_a_request_is_trained_for() -> None:
    background, own = (
        pipeline_spec(options, PAIRS, TESTS).recipes[0].overrides
        for options in (RunOptions(redraw="background"), RunOptions(label="own"))
    )
    assert background == {"sampling.redraw": "background", "training.region_background_share": 0.3}
    assert own == {"sampling.label": "own", "training.label_given_share": 0.3}
    paper = pipeline_spec(RunOptions(preset="paper-256-2023", label="own"), PAIRS, TESTS)
    assert paper.recipes[0].overrides == {"sampling.label": "own"}


def test_styling_adds_arms_that_train_on_the_styled_set() -> None:
    plain, styled = (pipeline_spec(RunOptions(styling=given), PAIRS, TESTS) for given in (None, {"batch": 4}))
    assert plain.recipes[0].styling is None
    assert styled.recipes[0].styling == {"batch": 4}
    assert styled.segmentation is not None
    assert {arm.name: arm.sets for arm in styled.segmentation.arms}["real + styled"] == ("Styled-Diff-1",)
    with pytest.raises(InvalidInput, match="colour"):
        pipeline_spec(RunOptions(styling={"colour": 1}), PAIRS, TESTS)
