"""The noise levels: the paper's linear β and its respaced chains, and the cosine log-SNR in continuous time."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearSchedule:
    """A discrete chain (Ho et al. 2020). All tensors are float64 of shape (steps,).

    `model_times` holds what the network is told at each level: the level of the chain it was trained on.
    """

    betas: Tensor
    alphas_bar: Tensor
    model_times: Tensor

    @property
    def steps(self) -> int:
        return len(self.betas)

    def to(self, device: torch.device) -> "LinearSchedule":
        """The same on another device, for levels that are there."""
        return LinearSchedule(self.betas.to(device), self.alphas_bar.to(device), self.model_times.to(device))

    @property
    def alphas_bar_before(self) -> Tensor:
        """ᾱ one level earlier; 1 before the first."""
        return torch.cat([self.alphas_bar.new_ones(1), self.alphas_bar[:-1]])


def linear_schedule(timesteps: int) -> LinearSchedule:
    """β from 1e-4 to .02 in equal steps at T = 1000, scaled by 1000/T otherwise."""
    scale = 1000 / timesteps
    betas = torch.linspace(scale * 1e-4, scale * 0.02, timesteps, dtype=torch.float64)
    return LinearSchedule(betas, torch.cumprod(1 - betas, dim=0), torch.arange(timesteps, dtype=torch.float64))


def respaced_levels(timesteps: int, count: int) -> list[int]:
    """`count` of the levels 0 … timesteps − 1, both ends among them: round(linspace)."""
    return [int(v) for v in torch.linspace(0, timesteps - 1, count, dtype=torch.float64).round()]


def respaced(schedule: LinearSchedule, count: int) -> LinearSchedule:
    """The chain over `count` kept levels, β from the ratios of their ᾱ (Nichol and Dhariwal 2021, eq. 19)."""
    kept = torch.tensor(respaced_levels(schedule.steps, count))
    alphas_bar = schedule.alphas_bar[kept]
    before = torch.cat([alphas_bar.new_ones(1), alphas_bar[:-1]])
    return LinearSchedule(1 - alphas_bar / before, alphas_bar, schedule.model_times[kept])


def q_sample(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = √ᾱ·x₀ + √(1 − ᾱ)·ε (Ho et al. 2020, eq. 4). Shapes (B, C, H, W), the same, and (B,) or a scalar."""
    alpha_bar = _as_column(alpha_bar, x0)
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def x0_from_epsilon(x_t: Tensor, epsilon: Tensor, alpha_bar: Tensor) -> Tensor:
    """x₀ = (x_t − √(1 − ᾱ)·ε) / √ᾱ. Shapes (B, C, H, W) twice, then (B,) or a scalar."""
    alpha_bar = _as_column(alpha_bar, x_t)
    return (x_t - (1 - alpha_bar).sqrt() * epsilon) / alpha_bar.sqrt()


def posterior_mean(x0: Tensor, x_t: Tensor, schedule: LinearSchedule, level: Tensor | int) -> Tensor:
    """Mean of q(x_{t−1} | x_t, x₀) (Ho et al. 2020, eq. 7). `level` is (B,) or one integer."""
    beta, alpha_bar = schedule.betas[level], schedule.alphas_bar[level]
    before = schedule.alphas_bar_before[level]
    from_x0 = _as_column(beta * before.sqrt() / (1 - alpha_bar), x0)
    from_x_t = _as_column((1 - beta).sqrt() * (1 - before) / (1 - alpha_bar), x0)
    return from_x0 * x0 + from_x_t * x_t


def posterior_log_variance(schedule: LinearSchedule) -> Tensor:
    """log β̃ (steps,), the first one replaced by the second, because β̃₀ = 0 (Nichol and Dhariwal 2021, §3.1)."""
    variance = schedule.betas * (1 - schedule.alphas_bar_before) / (1 - schedule.alphas_bar)
    return torch.cat([variance[1:2], variance[1:]]).log()


def learned_log_variance(output: Tensor, schedule: LinearSchedule, level: Tensor | int) -> Tensor:
    """log Σ = v·log β + (1 − v)·log β̃ with v = (output + 1)/2 (Nichol and Dhariwal 2021, eq. 15). Shape of `output`."""
    largest = _as_column(schedule.betas.log()[level], output)
    smallest = _as_column(posterior_log_variance(schedule)[level], output)
    share = (output + 1) / 2
    return share * largest + (1 - share) * smallest


def cosine_log_snr(time: Tensor, shift: float) -> Tensor:
    """log(α²/σ²) = −2·log tan(πu/2) + shift for u in (0, 1) (Kingma et al. 2021; Hoogeboom et al. 2023)."""
    return -2 * torch.log(torch.tan(time * (math.pi / 2))) + shift


def alpha_bar_from_log_snr(log_snr: Tensor) -> Tensor:
    """α² of the variance-preserving process, which is ᾱ."""
    return torch.sigmoid(log_snr)


def v_target(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """v = α·ε − σ·x₀ (Salimans and Ho 2022). Shapes as in `q_sample`."""
    alpha_bar = _as_column(alpha_bar, x0)
    return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * x0


def x0_from_v(x_t: Tensor, v: Tensor, alpha_bar: Tensor) -> Tensor:
    """x₀ = α·x_t − σ·v. Shapes as in `x0_from_epsilon`."""
    alpha_bar = _as_column(alpha_bar, x_t)
    return alpha_bar.sqrt() * x_t - (1 - alpha_bar).sqrt() * v


def epsilon_from_x0(x_t: Tensor, x0: Tensor, alpha_bar: Tensor) -> Tensor:
    """ε = (x_t − √ᾱ·x₀) / √(1 − ᾱ). Shapes as in `x0_from_epsilon`."""
    alpha_bar = _as_column(alpha_bar, x_t)
    return (x_t - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()


def _as_column(values: Tensor, like: Tensor) -> Tensor:
    """Per-sample numbers (B,) as (B, 1, 1, 1), on the device of `like`, or one number as (), where it is; in its dtype.

    One number on the CPU goes with tensors of any device, and copying it to CUDA would hold the host.
    """
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1)) if values.ndim else values.to(like.dtype)
