"""What a quality gate adds to a plan, and which ones are refused before anything runs."""

from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from segsmith_shared.plans.pipeline import DatasetTooSmall, PipelinePlan, PlannedJob, plan_pipeline
from segsmith_shared.plans.segmentation import UnknownSegmentationPreset
from segsmith_shared.plans.specs import ArmSpec, ClusteringSpec, NamedPart, PartRef, PipelineSpec, SegmentationStudySpec
from segsmith_shared.problems import InvalidInput

TWO_SETS: tuple[dict[str, Any], ...] = ({"overrides": {"sampling.samples_per_source": 2}},)
STUDY = SegmentationStudySpec(
    seeds=1,
    arms=(
        ArmSpec(name="real"),
        ArmSpec(name="one", real=False, sets=("Diff-1",)),
        ArmSpec(name="both", real=False, sets=("Diff-1", "Diff-2")),
    ),
)
DROPS = {"minimum_agreement_quantile": 0.05}


def planned(gate: dict[str, Any] | None, source_count: int = 100, **fields: object) -> PipelinePlan:
    spec = PipelineSpec.model_validate(
        {
            "pairs": PartRef(version_id=uuid4()),
            "tests": (NamedPart(name="held out", pairs=PartRef(version_id=uuid4())),),
            "clustering": ClusteringSpec(k=2),
            "recipes": TWO_SETS,
            "segmentation": STUDY,
            "quality_gate": gate,
        }
        | fields
    )
    return plan_pipeline(spec, uuid4(), source_count, torch_threads=1)


def of_kind(plan: PipelinePlan, kind: str) -> list[PlannedJob]:
    return [job for job in plan.jobs if job.kind == kind]


def ids(jobs: list[PlannedJob]) -> set[Any]:
    return {job.id for job in jobs}


def test_without_a_gate_nothing_is_judged() -> None:
    assert {job.kind for job in planned(None).jobs}.isdisjoint({"judge", "gate"})


def test_judges_wait_for_nothing_and_see_no_test_pair() -> None:
    plan = planned({"folds": 3})
    judges = of_kind(plan, "judge")
    assert [(job.name, job.queue, job.needs) for job in judges] == [(f"judge {n}/3", "gpu", ()) for n in (1, 2, 3)]
    documents = [job.spec.model_dump() for job in judges]
    assert [document["fold"] for document in documents] == [0, 1, 2]
    assert not any("tests" in document for document in documents)
    assert any((line.what, line.amount) == ("quality gate: judges", 3 * 160) for line in plan.cost)


def test_a_set_is_judged_after_its_evaluation_so_that_figures_are_of_the_set_as_it_was_made() -> None:
    plan = planned(DROPS)
    judges, evaluations = ids(of_kind(plan, "judge")), of_kind(plan, "evaluate")
    for gate, evaluation in zip(of_kind(plan, "gate"), evaluations, strict=True):
        assert gate.name == evaluation.name.replace("evaluate", "gate")
        assert set(gate.needs) >= judges | {evaluation.id}
    assert ids(of_kind(plan, "gate")) < set(plan.jobs[-1].needs)


@pytest.mark.parametrize("drop_near_copies", [False, True])
def test_arms_wait_for_the_gates_of_the_sets_they_eat_where_pairs_are_dropped(drop_near_copies: bool) -> None:
    plan = planned(DROPS, drop_near_copies=drop_near_copies)
    first, second = (job.id for job in of_kind(plan, "gate"))
    assert [set(job.needs) for job in of_kind(plan, "segment")] == [set(), {first}, {first, second}]


def test_arms_do_not_wait_for_a_gate_that_only_scores() -> None:
    plan = planned({})
    generate = ids(of_kind(plan, "generate"))
    assert [set(job.needs) for job in of_kind(plan, "segment")] == [set(), generate, generate]
    copies = planned({}, drop_near_copies=True)
    first, second = (job.id for job in of_kind(copies, "evaluate"))
    assert [set(job.needs) for job in of_kind(copies, "segment")] == [set(), {first}, {first, second}]


def test_a_run_that_evaluates_nothing_can_still_judge() -> None:
    plan = planned(DROPS, evaluation=None)
    generate, judges = ids(of_kind(plan, "generate")), ids(of_kind(plan, "judge"))
    assert [set(job.needs) for job in of_kind(plan, "gate")] == [generate | judges] * 2


@pytest.mark.parametrize(
    "gate",
    [
        {"minimum_agreement_quantile": 0},
        {"minimum_agreement_quantile": 0.6},
        {"minimum_agreement_quantile": float("nan")},
        {"folds": 1},
        {"folds": 11},
        {"minimum_agreement": 0.5},
    ],
)
def test_values_beyond_their_limits_are_refused(gate: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(gate))):
        planned(gate)


def test_an_unknown_judge_or_field_of_it_is_refused_before_anything_runs() -> None:
    with pytest.raises(UnknownSegmentationPreset):
        planned({"preset": "huge"})
    with pytest.raises(InvalidInput, match="stepz"):
        planned({"overrides": {"stepz": 1}})


@pytest.mark.parametrize(
    ("gate", "needed"), [({"folds": 4}, 8), (DROPS, 19), ({"minimum_agreement_quantile": 0.25}, 4)]
)
def test_too_few_pairs_are_refused_with_how_many_it_takes(gate: dict[str, Any], needed: int) -> None:
    with pytest.raises(DatasetTooSmall) as refused:
        planned(gate, needed - 1)
    assert f"needs {needed} pairs" in refused.value.hint
    assert of_kind(planned(gate, needed), "gate")


def test_styling_begins_with_what_passed_and_styled_sets_go_before_the_same_judges() -> None:
    plan = planned(
        DROPS, recipes=({"overrides": {"sampling.samples_per_source": 1}, "styling": {}},), segmentation=None
    )
    plain, styled = of_kind(plan, "gate")
    assert (plain.name, styled.name) == ("gate Diff-sample-1", "gate Styled-Diff-sample-1")
    assert len(of_kind(plan, "judge")) == 2
    assert plain.spec.model_dump()["judge_job_ids"] == styled.spec.model_dump()["judge_job_ids"]
    assert [set(job.needs) for job in of_kind(plan, "style")] == [{plain.id}]
    assert set(styled.needs) >= ids(of_kind(plan, "style")) | ids(of_kind(plan, "judge"))
