"""From noise to pairs: the levels a sampler visits, what the network says at each, and one step between two of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segsmith_worker.device import to_device
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.schedule import (
    LinearSchedule,
    alpha_bar_from_log_snr,
    cosine_log_snr,
    epsilon_from_x0,
    learned_log_variance,
    linear_schedule,
    posterior_log_variance,
    posterior_mean,
    respaced,
    x0_from_epsilon,
    x0_from_v,
)
from segsmith_worker.randomness import normal_for


@dataclass(frozen=True)
class SamplingReport:
    """Progress of one batch, in U-Net evaluations of the whole batch."""

    evaluations_done: int
    evaluations_total: int


OnEvaluation = Callable[[SamplingReport], None]
"""Called after each evaluation; an exception it raises ends the sampling, which leaves nothing half-made behind."""


@dataclass(frozen=True)
class Levels:
    """The noise levels of one sampler from cleanest to noisiest: ᾱ and the network's time, both float64 (count,)."""

    alphas_bar: Tensor
    model_times: Tensor

    def alpha_bar(self, level: int) -> Tensor:
        """ᾱ at a level as a scalar; 1, the clean picture, at −1."""
        return self.alphas_bar[level] if level >= 0 else torch.ones((), dtype=torch.float64)


def levels_of(model: DiffusionModel, count: int) -> Levels:
    """`count` levels of the model's own process: kept ones of a linear chain, or equal steps of cosine time."""
    diffusion = model.preset.diffusion
    if diffusion.schedule == "linear":
        chain = chain_of(model, count)
        return Levels(chain.alphas_bar, chain.model_times)
    time = torch.linspace(0, 1, count + 1, dtype=torch.float64)[1:].clamp_max(1 - 1e-3)
    return Levels(alpha_bar_from_log_snr(cosine_log_snr(time, diffusion.log_snr_shift)), time * 1000)


def chain_of(model: DiffusionModel, count: int) -> LinearSchedule:
    """The model's linear chain, respaced to `count` levels."""
    return respaced(linear_schedule(model.preset.diffusion.timesteps), count)


def as_chain(levels: Levels) -> LinearSchedule:
    """Levels of either process as a chain to step down: β from the ratios of their ᾱ."""
    before = torch.cat([levels.alphas_bar.new_ones(1), levels.alphas_bar[:-1]])
    return LinearSchedule(1 - levels.alphas_bar / before, levels.alphas_bar, levels.model_times)


def evaluate(
    model: DiffusionModel, x_t: Tensor, network_input: Tensor, levels: Levels, level: int
) -> tuple[Tensor, Tensor]:
    """One evaluation of the U-Net: the predicted x₀ (B, C, H, W), unclipped, and its range output (B, C or 0, H, W)."""
    return read_output(model, x_t, model.predict(network_input, times_at(levels, level, x_t)), levels, level)


def times_at(levels: Levels, level: int, x_t: Tensor) -> Tensor:
    """What the network is told of the level, for each row of x_t: (B,)."""
    return torch.full((len(x_t),), float(levels.model_times[level]), dtype=torch.float64, device=x_t.device)


def read_output(
    model: DiffusionModel, x_t: Tensor, output: Tensor, levels: Levels, level: int
) -> tuple[Tensor, Tensor]:
    """The predicted x₀ (B, C, H, W), unclipped, and the range output (B, C or 0, H, W) in an output of the U-Net."""
    prediction, range_output = output[:, : model.pair_channels], output[:, model.pair_channels :]
    alpha_bar = levels.alphas_bar[level]
    if model.preset.diffusion.prediction == "v":
        return x0_from_v(x_t, prediction, alpha_bar), range_output
    return x0_from_epsilon(x_t, prediction, alpha_bar), range_output


def ancestral_step(
    x_t: Tensor, x0: Tensor, range_output: Tensor, chain: LinearSchedule, level: int, noise: Tensor
) -> Tensor:
    """x_{t−1} from the posterior around x₀ with the learned Σ, or β̃ where none is learned; no noise at level 0."""
    mean = posterior_mean(x0, x_t, chain, level)
    if level == 0:
        return mean
    return mean + (0.5 * step_log_variance(range_output, chain, level)).exp() * noise


def step_log_variance(range_output: Tensor, chain: LinearSchedule, level: int) -> Tensor:
    """log Σ of one ancestral step: learned (B, C, H, W), or log β̃ as a scalar where none is learned."""
    if range_output.shape[1] > 0:
        return learned_log_variance(range_output, chain, level)
    return posterior_log_variance(chain)[level].to(range_output.dtype)


def ddim_step(
    x_t: Tensor, x0: Tensor, alpha_bar: Tensor, next_alpha_bar: Tensor, noise: Tensor, stochasticity: float
) -> Tensor:
    """One step to a cleaner level (Song et al. 2021, eq. 12 and 16): η = 0 is deterministic, η = 1 ancestral."""
    alpha_bar, next_alpha_bar = alpha_bar.to(x_t.dtype), next_alpha_bar.to(x_t.dtype)
    variance = (1 - next_alpha_bar) / (1 - alpha_bar) * (1 - alpha_bar / next_alpha_bar) * stochasticity**2
    direction = (1 - next_alpha_bar - variance).clamp_min(0).sqrt()
    epsilon = epsilon_from_x0(x_t, x0, alpha_bar)
    return next_alpha_bar.sqrt() * x0 + direction * epsilon + variance.clamp_min(0).sqrt() * noise


@torch.inference_mode()
def sample_unconditionally(
    model: DiffusionModel,
    seeds: Sequence[int],
    *,
    evaluations: int,
    stochasticity: float = 1.0,
    clip_denoised: bool = True,
    on_evaluation: OnEvaluation | None = None,
) -> Tensor:
    """Whole pairs (len(seeds), C, H, W) in −1..1 from pure noise, for a model without a region channel."""
    levels = levels_of(model, evaluations)
    x = noise_like(model, seeds, "start")
    for level in reversed(range(evaluations)):
        x0, _ = evaluate(model, x, x, levels, level)
        x0 = x0.clamp(-1, 1) if clip_denoised else x0
        noise = noise_like(model, seeds, "step", level)
        x = ddim_step(x, x0, levels.alpha_bar(level), levels.alpha_bar(level - 1), noise, stochasticity)
        report(on_evaluation, evaluations - level, evaluations)
    return x


def noise_like(model: DiffusionModel, seeds: Sequence[int], purpose: str, *position: int) -> Tensor:
    """Noise for pairs (len(seeds), C, side, side) on the model's device; each row depends on its own seed."""
    shape = (model.pair_channels, model.side_px, model.side_px)
    return to_device(normal_for(seeds, purpose, position, shape), model.device)


def report(on_evaluation: OnEvaluation | None, done: int, total: int) -> None:
    """Tell the caller of one more evaluation, if it wants to know."""
    if on_evaluation is not None:
        on_evaluation(SamplingReport(done, total))
