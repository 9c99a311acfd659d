"""An arm is compared with as many real pairs alone, at the side at which its pictures are drawn."""

from itertools import permutations
from typing import Any

import pytest

from segsmith_shared.plans.fairness import EnlargedPictures, TooFewRealPairs, reference_of, without_reference
from segsmith_shared.plans.specs import ArmSpec, QualityGateSpec, Recipe, SegmentationStudySpec
from tests.unit.shared.plans.test_pipeline import planned

ARMS = (
    ArmSpec(name="real"),
    ArmSpec(name="16 real", real_limit=16),
    ArmSpec(name="64 real", real_limit=64),
    ArmSpec(name="64 + styled", real_limit=64, sets=("Diff-1",)),
    ArmSpec(name="16 + styled", real_limit=16, sets=("Diff-1",)),
    ArmSpec(name="styled of 16", real=False, real_limit=16, sets=("Diff-1",)),
    ArmSpec(name="all + styled", sets=("Diff-1",)),
    ArmSpec(name="8 + styled", real_limit=8, sets=("Diff-1",)),
)


@pytest.mark.parametrize("arms", list(permutations(ARMS[:4], 4)))
def test_the_reference_has_the_same_n_whatever_the_order_of_arms(arms: tuple[ArmSpec, ...]) -> None:
    wanted = {"real": None, "16 real": None, "64 real": None, "64 + styled": "64 real"}
    found = {arm.name: reference_of(arm, arms, 100) for arm in arms}
    assert {name: each and each.name for name, each in found.items()} == wanted


def test_every_arm_with_synthetic_pairs_finds_its_own_reference_or_none() -> None:
    found = {arm.name: reference_of(arm, ARMS, 100) for arm in ARMS if arm.sets}
    assert {name: each and each.name for name, each in found.items()} == {
        "64 + styled": "64 real",
        "16 + styled": "16 real",
        "styled of 16": "16 real",
        "all + styled": "real",
        "8 + styled": None,
    }
    assert without_reference(SegmentationStudySpec(arms=ARMS), 100) == ["8 + styled"]


def test_a_limit_of_all_pairs_is_compared_with_all_pairs() -> None:
    arm = ArmSpec(name="100 + Diff", real_limit=100, sets=("Diff-1",))
    reference = reference_of(arm, (ArmSpec(name="real"), arm), 100)
    assert reference is not None
    assert reference.name == "real"


def test_a_plan_names_the_arms_that_nothing_is_compared_with() -> None:
    plan = planned(segmentation=SegmentationStudySpec(arms=ARMS))
    assert [note for note in plan.notes if "8 + styled" in note]
    assert not [note for note in plan.notes if "64 + styled" in note]


def test_more_real_pairs_than_are_left_to_train_on_are_refused() -> None:
    study = SegmentationStudySpec(arms=(ArmSpec(name="many", real_limit=101),))
    with pytest.raises(TooFewRealPairs, match="101 real pairs; 100 are left"):
        planned(segmentation=study)


def sides(**fields: Any) -> set[object]:
    plan = planned(**fields)
    return {job.spec.model_dump()["overrides"].get("side_px") for job in plan.jobs if job.kind in {"segment", "judge"}}


def test_a_study_of_larger_pictures_than_are_drawn_goes_down_to_what_is_drawn() -> None:
    study = SegmentationStudySpec(preset="paper-256")
    gate = QualityGateSpec(preset="small-64")
    assert sides(preset="tiny-cpu", segmentation=study, allow_stand_ins=True) == {32}  # 48, in steps of 32
    assert sides(preset="tiny-cpu", segmentation=None, quality_gate=gate) == {48}
    large = Recipe(name="Large", preset="medium-128")
    assert sides(recipes=(large, Recipe()), segmentation=SegmentationStudySpec(preset="small-64")) == {48}


def test_a_side_that_a_request_gives_is_kept_or_refused() -> None:
    smaller = SegmentationStudySpec(overrides={"side_px": 32})
    assert sides(segmentation=smaller) == {32}
    larger = SegmentationStudySpec(overrides={"side_px": 64})
    with pytest.raises(EnlargedPictures, match="drawn at 48 px"):
        planned(segmentation=larger)


def test_pictures_without_a_lesion_are_said_to_be_left_out_of_what_cannot_use_them() -> None:
    exchanging = {"sampling.label": "exchanged", "training.label_given_share": 0.3}
    recipes = (Recipe(), Recipe(name="Exchanged", overrides=exchanging))
    plan = planned(recipes=recipes, negatives=10)
    notes = " ".join(plan.notes)
    assert "10 pictures without a lesion are not trained on by Diff." in notes
    assert "are no sources of Diff:" in notes
    costs = {line.what: line.amount for line in plan.cost if line.unit == "pairs"}
    assert (costs["Diff: samples"], costs["Exchanged: samples"]) == (3 * 90, 3 * 100)
    assert not [note for note in planned().notes if "without a lesion" in note]
