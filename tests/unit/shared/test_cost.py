"""Cost plans: what is promised before a run is what the run does."""

import pytest

from segsmith_shared.plans.cost import forward_flops, generation_cost, training_cost
from segsmith_shared.plans.presets import preset_named


def test_the_papers_network_costs_its_published_operations() -> None:
    preset = preset_named("paper-256-2024")
    assert forward_flops(preset) == pytest.approx(2.216e12, rel=0.01)


def test_the_papers_sampling_takes_960_evaluations_a_picture() -> None:
    cost = generation_cost(preset_named("paper-256-2023"), samples=16)
    assert (cost.evaluations_per_sample, cost.evaluations) == (960, 16 * 960)


def test_a_batch_filled_up_is_paid_for() -> None:
    preset = preset_named("tiny-cpu").with_overrides({"sampling.batch": 16, "sampling.evaluations": 20})
    assert generation_cost(preset, samples=17).evaluations == 32 * 20


def test_training_counts_whole_batches_for_every_model() -> None:
    preset = preset_named("tiny-cpu").with_overrides({"training.batch": 16, "training.images_total": 100})
    cost = training_cost(preset, models=2)
    assert cost.images == 2 * 112
    assert cost.flops == 3 * cost.images * forward_flops(preset)
