"""Diff-3 is the first three samples of every source, Diff-sample-3 the third alone, and nothing is taken for either."""

import pytest

from segsmith_shared.plans.specs import ArmSpec, Recipe, SegmentationStudySpec
from segsmith_shared.plans.synthetic_sets import UnknownSet, distinct_members, members_of
from tests.unit.shared.plans.test_pipeline import planned

MADE = [f"{recipe}-sample-{index}" for recipe in ("Diff", "Styled-Diff") for index in (1, 2, 3)]


def test_a_number_is_the_union_of_the_first_samples_and_a_sample_set_is_itself() -> None:
    assert members_of("Diff-3", MADE) == ["Diff-sample-1", "Diff-sample-2", "Diff-sample-3"]
    assert members_of("Diff-1", MADE) == ["Diff-sample-1"]
    assert members_of("Diff-sample-3", MADE) == ["Diff-sample-3"]
    assert members_of("Styled-Diff-2", MADE) == ["Styled-Diff-sample-1", "Styled-Diff-sample-2"]


def test_a_sample_that_two_names_mean_is_there_once() -> None:
    assert distinct_members(["Diff-2", "Diff-sample-2", "Diff-sample-3"], MADE) == MADE[:3]


@pytest.mark.parametrize("name", ["Diff-4", "Diff-0", "Diff", "Diff-sample-4", "Other-1", "Diff-01"])
def test_what_no_recipe_makes_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(UnknownSet) as refused:
        members_of(name, MADE)
    assert "Diff-3" in refused.value.hint
    assert "Styled-Diff-sample-1" in refused.value.hint


@pytest.mark.parametrize("name", ["Diff-sample-2", "Diff-sample"])
def test_no_recipe_is_called_as_a_set_is(name: str) -> None:
    with pytest.raises(Exception, match="reads like a set"):
        planned(recipes=(Recipe(name=name),), segmentation=None)


def test_an_arm_of_a_union_trains_on_every_sample_up_to_its_number() -> None:
    study = SegmentationStudySpec(seeds=1, arms=(ArmSpec(name="three", real=False, sets=("Diff-3",)),))
    plan = planned(recipes=(Recipe(),), segmentation=study)
    (segment,) = (job.spec.model_dump() for job in plan.jobs if job.kind == "segment")
    assert {name: index for name, (_, index) in segment["sets"].items()} == {
        "Diff-sample-1": 1,
        "Diff-sample-2": 2,
        "Diff-sample-3": 3,
    }
