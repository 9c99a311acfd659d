"""Noise levels against diffusers' schedulers and closed forms."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from segsmith_worker.diffusion.sampling import ancestral_step, ddim_step
from segsmith_worker.diffusion.schedule import (
    alpha_bar_from_log_snr,
    cosine_log_snr,
    epsilon_from_x0,
    learned_log_variance,
    linear_schedule,
    posterior_log_variance,
    posterior_mean,
    q_sample,
    respaced,
    respaced_levels,
    v_target,
    x0_from_epsilon,
    x0_from_v,
)
from segsmith_worker.randomness import generator_for

SHAPE = (3, 4, 8, 8)
new_scheduler: Any = DDPMScheduler  # diffusers is untyped


def normal(name: str, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=generator_for(0, name))


def oracle(steps: int, **options: object) -> Any:
    """Diffusers' sampler, its ᾱ in double precision like ours: in single it is itself off by 1e-4 at low noise."""
    scheduler = new_scheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        timestep_spacing="linspace",
        clip_sample=False,
        **options,
    )
    scheduler.set_timesteps(steps)
    scheduler.alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    return scheduler


def test_the_linear_chain_equals_that_of_diffusers() -> None:
    schedule = linear_schedule(1000)
    assert torch.allclose(schedule.alphas_bar.float(), new_scheduler(beta_end=0.02).alphas_cumprod, atol=1e-6)


def test_a_shorter_chain_scales_its_noise_up() -> None:
    assert linear_schedule(500).betas[[0, -1]].tolist() == pytest.approx([2e-4, 0.04])


@pytest.mark.parametrize("count", [2, 50, 100, 200, 250, 1000])
def test_respacing_keeps_rounded_equal_steps_and_both_ends(count: int) -> None:
    levels = respaced_levels(1000, count)
    assert levels == np.linspace(0, 999, count).round().astype(int).tolist()
    assert (levels[0], levels[-1]) == (0, 999)
    assert levels == oracle(count).timesteps.flip(0).tolist()


def test_a_respaced_chain_keeps_the_noise_of_its_levels() -> None:
    full, short = linear_schedule(1000), respaced(linear_schedule(1000), 200)
    assert torch.allclose(torch.cumprod(1 - short.betas, 0), full.alphas_bar[short.model_times.long()], rtol=1e-12)


@pytest.mark.parametrize("steps", [200, 1000])
@pytest.mark.parametrize("learned", [True, False])
def test_every_ancestral_step_equals_that_of_diffusers(steps: int, learned: bool) -> None:
    scheduler = oracle(steps, variance_type="learned_range" if learned else "fixed_small_log")
    chain = respaced(linear_schedule(1000), steps)
    x_t, epsilon, ranged = normal("x").double(), normal("epsilon").double(), normal("range").clamp(-1, 1).double()
    for level in (steps - 1, steps // 2, 2, 1, 0):
        output = torch.cat([epsilon, ranged], dim=1) if learned else epsilon
        theirs = scheduler.step(output, int(chain.model_times[level]), x_t, generator=generator_for(1, "step"))
        noise = torch.randn(SHAPE, generator=generator_for(1, "step"), dtype=torch.float64)
        x0 = x0_from_epsilon(x_t, epsilon, chain.alphas_bar[level])
        ours = ancestral_step(x_t, x0, ranged if learned else ranged[:, :0], chain, level, noise)
        assert (ours - theirs.prev_sample).abs().max() < 1e-5


def test_the_posterior_is_bayes_rule_on_numbers() -> None:
    """q(x_{t−1} | x_t, x₀) ∝ q(x_t | x_{t−1})·q(x_{t−1} | x₀), the product of two normal densities."""
    schedule = linear_schedule(1000)
    for level in (1, 10, 999):
        beta, before = schedule.betas[level].item(), schedule.alphas_bar[level - 1].item()
        precision = (1 - beta) / beta + 1 / (1 - before)
        mean = (math.sqrt(1 - beta) / beta * 0.7 + math.sqrt(before) / (1 - before) * -0.2) / precision
        x0, x_t = (
            torch.full((1, 1, 1, 1), -0.2, dtype=torch.float64),
            torch.full((1, 1, 1, 1), 0.7, dtype=torch.float64),
        )
        assert posterior_mean(x0, x_t, schedule, level).item() == pytest.approx(mean, abs=1e-9)
        assert posterior_log_variance(schedule)[level].item() == pytest.approx(-math.log(precision), abs=1e-9)


def test_the_learned_variance_runs_from_posterior_to_beta_in_log_space() -> None:
    schedule = linear_schedule(1000)
    level = torch.tensor([0, 1, 500])
    ends = [learned_log_variance(torch.full(SHAPE, v), schedule, level)[:, 0, 0, 0] for v in (-1.0, 1.0, 0.0)]
    small, large = posterior_log_variance(schedule)[level].float(), schedule.betas.log()[level].float()
    assert torch.allclose(ends[0], small)
    assert torch.allclose(ends[1], large)
    assert torch.allclose(ends[2], (small + large) / 2)
    assert posterior_log_variance(schedule)[0] == posterior_log_variance(schedule)[1]


@pytest.mark.parametrize("shift", [-2.0, 0.0, 1.0])
def test_the_cosine_process_is_the_cosine_and_its_shift_scales_the_ratio_of_signal_and_noise(shift: float) -> None:
    time = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    plain = torch.cos(time * math.pi / 2) ** 2
    shifted = alpha_bar_from_log_snr(cosine_log_snr(time, shift))
    assert torch.allclose(shifted / (1 - shifted), plain / (1 - plain) * math.exp(shift))


@pytest.mark.parametrize("alpha_bar", [0.999, 0.5, 1e-3])
def test_epsilon_v_and_x0_are_three_names_of_one_thing(alpha_bar: float) -> None:
    x0, noise = normal("x0").double(), normal("noise").double()
    share = torch.full((3,), alpha_bar, dtype=torch.float64)
    x_t = q_sample(x0, noise, share)
    assert torch.allclose(x0_from_epsilon(x_t, noise, share), x0)
    assert torch.allclose(epsilon_from_x0(x_t, x0, share), noise)
    assert torch.allclose(x0_from_v(x_t, v_target(x0, noise, share), share), x0)


def test_a_deterministic_step_stays_on_the_line_between_picture_and_noise() -> None:
    x0, noise = normal("x0").double(), normal("noise").double()
    near, far = torch.tensor(0.8).double(), torch.tensor(0.2).double()
    stepped = ddim_step(q_sample(x0, noise, far), x0, far, near, normal("unused").double(), stochasticity=0.0)
    assert torch.allclose(stepped, q_sample(x0, noise, near))


def test_a_fully_stochastic_step_is_the_ancestral_one() -> None:
    chain = respaced(linear_schedule(1000), 50)
    x_t, x0, noise = normal("x").double(), normal("x0").double(), normal("noise").double()
    for level in (2, 20, 49):
        ddim = ddim_step(x_t, x0, chain.alphas_bar[level], chain.alphas_bar[level - 1], noise, stochasticity=1.0)
        assert torch.allclose(ddim, ancestral_step(x_t, x0, noise[:, :0], chain, level, noise))
