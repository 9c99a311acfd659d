"""A run's cost is known, and right, before it starts."""

import pytest

from segsmith_shared.plans.cost import forward_flops, generation_cost, training_cost
from segsmith_shared.plans.presets import preset_named


def test_the_papers_network_costs_what_was_measured_on_the_authors_code() -> None:
    assert forward_flops(preset_named("paper-256-2024")) == pytest.approx(2.216e12, rel=1e-3)


@pytest.mark.parametrize(
    ("steps", "jump", "visits", "evaluations"),
    [(200, 10, 5, 960), (200, 10, 10, 1910), (250, 10, 10, 2410), (100, 10, 5, 460), (50, 10, 5, 210)],
)
def test_repaints_evaluations_are_counted_from_its_jumps(steps: int, jump: int, visits: int, evaluations: int) -> None:
    chain = {"respaced_steps": steps, "jump_length": jump, "jump_visits": visits}
    preset = preset_named("paper-256-2023").with_overrides({"sampling": chain})
    assert generation_cost(preset, 3).evaluations == 3 * evaluations


def test_a_sampler_without_jumps_costs_its_evaluations() -> None:
    preset = preset_named("small-64")
    assert generation_cost(preset, 348).evaluations == 348 * preset.sampling.evaluations


def test_training_costs_three_forward_passes_an_image() -> None:
    preset = preset_named("small-64")
    cost = training_cost(preset)
    assert cost.flops == 3 * preset.training.images_total * forward_flops(preset)
