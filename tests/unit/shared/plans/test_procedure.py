"""`procedure: authors` sets what their code does, leaves what a request gives, and names what still differs."""

from typing import Any

import pytest

from segsmith_shared.plans.pipeline import PipelinePlan, plan_pipeline
from segsmith_shared.plans.procedure import NEVER_DONE, with_procedure
from segsmith_shared.plans.segmentation import preset_named as segmentation_preset
from segsmith_shared.plans.specs import ClusteringSpec, PipelineSpec, Recipe, SegmentationStudySpec
from tests.unit.shared.plans.test_pipeline import PAIRS, TESTS


def request(**fields: Any) -> PipelineSpec:
    defaults: dict[str, Any] = {
        "pairs": PAIRS,
        "tests": TESTS,
        "procedure": "authors",
        "preset": "paper-256-2023",
        "clustering": ClusteringSpec(k=20),
        "recipes": (Recipe(styling={}),),
        "segmentation": SegmentationStudySpec(preset="paper-256"),
        "allow_stand_ins": True,
    }
    return PipelineSpec.model_validate(defaults | fields)


def planned(spec: PipelineSpec, import_procedure: str | None = "authors") -> PipelinePlan:
    return plan_pipeline(spec, PAIRS.version_id, 348, 1, import_procedure=import_procedure)


def preset_that_runs(plan: PipelinePlan) -> dict[str, Any]:
    return plan.generations[0].order.preset


def test_every_field_that_the_authors_set_otherwise_is_set() -> None:
    spec = with_procedure(request())
    plan = planned(spec)
    preset = preset_that_runs(plan)
    assert spec.clustering.minimum_cluster_size == 1
    assert preset["training"]["ema_warm_up"] is False
    sampling = preset["sampling"]
    assert (sampling["cluster_choice"], sampling["dilation_px"], sampling["opening_kernel"]) == ("own", 10, "even")
    assert (sampling["clip_denoised"], sampling["paste_known"]) == (False, False)
    styled = plan.generations[1].order.styling
    assert styled is not None
    assert (styled.spec["l2_region"], styled.spec["colour_range"], styled.spec["label"]) == ("all", "stretch", "styled")
    segment = next(job.spec.model_dump() for job in plan.jobs if job.kind == "segment")
    study = segmentation_preset(segment["preset"]).with_overrides(segment["overrides"])
    assert (study.input_statistics, study.augment, study.epochs) == ("none", True, 150)
    assert segment["policy"] == "append_bernoulli"


def test_a_run_of_the_papers_preset_differs_only_in_what_no_field_can_set() -> None:
    assert planned(request()).differs_from_authors == list(NEVER_DONE)


def test_what_a_request_gives_is_kept_and_named() -> None:
    given = request(
        clustering=ClusteringSpec(k=20, minimum_cluster_size=4),
        recipes=(Recipe(overrides={"training.ema_warm_up": True}, styling={"l2_region": "kept"}),),
        segmentation=SegmentationStudySpec(
            preset="paper-256", overrides={"input_statistics": "imagenet"}, policy="pool"
        ),
    )
    plan = planned(given, import_procedure="corrected")
    named = set(plan.differs_from_authors) - set(NEVER_DONE)
    assert named == {
        "import procedure: labels at half of their range (authors: above 0)",
        "clustering.minimum_cluster_size: 4 (authors: 1)",
        "Diff: training.ema_warm_up: True (authors: False)",
        "Diff: styling.l2_region: kept (authors: all)",
        "segmentation.input_statistics: imagenet (authors: none)",
        "segmentation.policy: pool (authors: append_bernoulli)",
    }
    assert preset_that_runs(plan)["training"]["ema_warm_up"] is True


def test_a_small_preset_in_the_authors_name_says_in_which_fields_it_is_not_theirs() -> None:
    plan = planned(request(preset="small-64", segmentation=None, recipes=(Recipe(),)))
    named = " ".join(plan.differs_from_authors)
    for field in ("diffusion.prediction: v", "training.inpainting_aware: True", "sampling.sampler: ancestral"):
        assert f"Diff: {field}" in named


def test_applying_it_twice_changes_nothing_also_after_the_request_was_stored() -> None:
    once = with_procedure(request())
    assert with_procedure(once) == once
    stored = PipelineSpec.model_validate_json(once.model_dump_json())
    assert with_procedure(stored) == stored


def test_corrected_changes_nothing_and_claims_no_difference() -> None:
    spec = request(procedure="corrected")
    assert with_procedure(spec) == spec
    assert planned(spec).differs_from_authors == []


@pytest.mark.parametrize(("entries", "steps"), [(16, 150), (17, 300), (278, 150 * 18)])
def test_epochs_are_so_many_passes_over_an_arms_own_pairs(entries: int, steps: int) -> None:
    spec = segmentation_preset("paper-256").with_overrides({"epochs": 150}).for_pairs(entries)
    assert spec.steps == steps
    assert spec.validate_every_steps == steps // 150
    without = segmentation_preset("paper-256")
    assert without.for_pairs(entries) == without
