"""A user with so many evaluations to spend is told how."""

import pytest

from segsmith_shared.plans.cost import evaluations_per_sample
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.plans.sampler_budget import BudgetTooSmall, propose_samplers


@pytest.mark.parametrize("budget", [2, 20, 60, 210, 960, 2410])
@pytest.mark.parametrize("name", ["small-64", "paper-256-2023"])
def test_every_proposal_can_be_asked_for_and_keeps_to_the_budget(name: str, budget: int) -> None:
    for proposal in propose_samplers(preset_named(name), budget):
        preset = preset_named(name).with_overrides(proposal.overrides)
        assert preset.sampling.sampler == proposal.sampler
        assert evaluations_per_sample(preset.sampling) == proposal.evaluations <= budget


def test_the_papers_budget_is_spent_like_the_paper_did() -> None:
    (proposal,) = [each for each in propose_samplers(preset_named("paper-256-2023"), 960) if each.sampler == "repaint"]
    assert proposal.overrides == {
        "sampling.sampler": "repaint",
        "sampling.respaced_steps": 200,
        "sampling.jump_length": 10,
        "sampling.jump_visits": 5,
    }


def test_a_budget_too_small_for_jumps_goes_into_levels_alone() -> None:
    proposals = propose_samplers(preset_named("paper-256-2023"), 30)
    assert {proposal.sampler for proposal in proposals} == {"langevin", "blended"}
    assert not any("sampling.jump_visits" in each.overrides for each in proposals if each.sampler == "langevin")


def test_corrections_come_first_for_a_model_that_sees_the_surroundings_through_noise() -> None:
    proposal = propose_samplers(preset_named("paper-256-2023"), 60)[0]
    assert proposal.overrides == {
        "sampling.sampler": "langevin",
        "sampling.respaced_steps": 20,
        "sampling.langevin_steps": 2,
        "sampling.order": 2,
        "sampling.label_core": 0.6,
    }


def test_no_core_is_kept_where_the_lesion_itself_is() -> None:
    background = preset_named("paper-256-2023").with_overrides({"sampling.redraw": "background"})
    assert "sampling.label_core" not in propose_samplers(background, 60)[0].overrides


def test_an_aware_model_is_never_told_to_jump() -> None:
    proposed = [each.sampler for each in propose_samplers(preset_named("small-64"), 500)]
    assert proposed == ["ancestral_known_clean", "langevin"]


def test_one_evaluation_is_refused() -> None:
    with pytest.raises(BudgetTooSmall):
        propose_samplers(preset_named("small-64"), 1)
