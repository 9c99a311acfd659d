"""Cost plans: what is promised before a run is what the run does."""

import pytest

from segsmith_shared.plans.budget import TrainingBudget
from segsmith_shared.plans.cost import (
    evaluations_per_sample,
    forward_flops,
    generation_cost,
    training_cost,
    whole_evaluations_per_sample,
)
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
    cost = training_cost(preset, TrainingBudget(networks=2, images_each=100))
    assert cost.images == 2 * 112
    assert cost.flops == 3 * cost.images * forward_flops(preset)


def test_every_langevin_correction_is_paid_for() -> None:
    sampling = {"sampling.sampler": "langevin", "sampling.respaced_steps": 20, "sampling.langevin_steps": 2}
    assert evaluations_per_sample(preset_named("paper-256-2023").with_overrides(sampling).sampling) == 60


def test_an_evaluation_at_half_the_side_costs_about_a_quarter() -> None:
    sampling = {"sampler": "coarse_to_fine", "coarse_evaluations": 40, "jump_visits": 1, "evaluations": 10}
    for name in ("small-64", "paper-256-2023"):
        preset = preset_named(name).with_overrides({"sampling": sampling})
        cost = generation_cost(preset, samples=preset.sampling.batch)
        assert cost.evaluations_per_sample == 50
        assert whole_evaluations_per_sample(preset) == pytest.approx(20, rel=0.05)
        assert cost.flops == pytest.approx(20 * preset.sampling.batch * forward_flops(preset), rel=0.05)


def test_guidance_doubles_the_operations() -> None:
    preset = preset_named("small-64")
    guided = preset.with_overrides({"sampling.guidance": 2.0})
    assert generation_cost(guided, 16).flops == 2 * generation_cost(preset, 16).flops
