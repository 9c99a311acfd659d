"""What training minimises: the hybrid loss of ε with learned variance, and means over the region only."""

import math

import torch
from torch import Tensor

from segsmith_worker.diffusion.schedule import (
    LinearSchedule,
    learned_log_variance,
    posterior_log_variance,
    posterior_mean,
    x0_from_epsilon,
)

_HALF_BIN = 1 / 255
"""Half the distance of two byte values on [−1, 1]."""
_SMALLEST_SHARE = 0.05


def hybrid_loss(
    output: Tensor, x0: Tensor, x_t: Tensor, noise: Tensor, level: Tensor, schedule: LinearSchedule
) -> Tensor:
    """L_simple + L_vlb (Nichol and Dhariwal 2021, eq. 16), unreduced: (B, C, H, W) from an output (B, 2C, H, W).

    The variational term is in bits, sees the mean detached, and weighs T/1000, which is the paper's λ of .001·T.
    `level` is (B,).
    """
    epsilon, range_output = output.chunk(2, dim=1)
    bound = variational_bound(epsilon.detach(), range_output, x0, x_t, level, schedule)
    return (epsilon - noise) ** 2 + bound * (schedule.steps / 1000)


def variational_bound(
    epsilon: Tensor, range_output: Tensor, x0: Tensor, x_t: Tensor, level: Tensor, schedule: LinearSchedule
) -> Tensor:
    """One term of the bound in bits per value, (B, C, H, W): KL(q ‖ p), at level 0 −log p(x₀ | x₁) over byte bins."""
    alpha_bar = schedule.alphas_bar[level]
    mean = posterior_mean(x0_from_epsilon(x_t, epsilon, alpha_bar), x_t, schedule, level)
    log_variance = learned_log_variance(range_output, schedule, level)
    true_log_variance = posterior_log_variance(schedule)[level].to(x0).reshape(-1, 1, 1, 1)
    divergence = normal_divergence(posterior_mean(x0, x_t, schedule, level), true_log_variance, mean, log_variance)
    likelihood = -byte_log_likelihood(x0, mean, 0.5 * log_variance)
    first = (level == 0).reshape(-1, 1, 1, 1).to(x0.device)
    nats = torch.where(first, likelihood, divergence)
    return nats / math.log(2)


def normal_divergence(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """KL of two normal distributions in nats, elementwise."""
    ratio = log_variance - other_log_variance
    return 0.5 * (-1 - ratio + ratio.exp() + (mean - other_mean) ** 2 * (-other_log_variance).exp())


def byte_log_likelihood(x: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """Log probability, in nats, that the normal puts into the byte bin around x in [−1, 1]; the end bins are open."""
    above = (x - mean + _HALF_BIN) * (-log_deviation).exp()
    below = (x - mean - _HALF_BIN) * (-log_deviation).exp()
    inner = torch.special.ndtr(above) - torch.special.ndtr(below)
    lower_end, upper_end = torch.special.log_ndtr(above), torch.special.log_ndtr(-below)
    log_inner = inner.clamp_min(1e-12).log()
    return torch.where(x < -0.999, lower_end, torch.where(x > 0.999, upper_end, log_inner))


def root_snr_weight(alpha_bar: Tensor) -> Tensor:
    """What turns squared errors of v into those of x₀ times 2·√SNR: 2·α·σ. Shapes (B,) → (B, 1, 1, 1).

    The error of v is that of x₀ times 1 + SNR, which spends most of a small network on noise levels at which there is
    little to know; that of ε is x₀'s times SNR and neglects those that decide on colours. This is their middle, and
    close to making all levels' errors alike.
    """
    return 2 * (alpha_bar * (1 - alpha_bar)).sqrt().reshape(-1, 1, 1, 1)


def mean_inside(values: Tensor, redraw_region: Tensor | None) -> Tensor:
    """Mean of values (B, C, H, W) over all channels of the region's pixels (B, 1, H, W), or of all: (B,).

    A region (B, C, H, W) says it for each channel; one with values other than 0 and 1 weighs.
    """
    if redraw_region is None:
        return values.mean(dim=(1, 2, 3))
    counted = redraw_region.expand_as(values)
    return (values * counted).sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3)).clamp_min(1)


def balanced(lesions: Tensor, counted: Tensor, strength: float) -> Tensor:
    """Weights for the counted pixels (B, 1, H, W), mean 1: with strength 1 lesion and surroundings weigh alike.

    After the idea of ArSDM (Du et al. 2023), which weighs each by the other's share. A lesion of less than a twentieth
    counts as one, so that a handful of pixels does not make the whole gradient. Lesions bool (B, 1, H, W).
    """
    pixels = counted.sum(dim=(1, 2, 3), keepdim=True).clamp_min(1)
    share = (counted * lesions).sum(dim=(1, 2, 3), keepdim=True) / pixels
    within = share.clamp(_SMALLEST_SHARE, 1 - _SMALLEST_SHARE)
    weights = torch.where(lesions, 0.5 / within, 0.5 / (1 - within))
    weights = weights / ((weights * counted).sum(dim=(1, 2, 3), keepdim=True) / pixels).clamp_min(_SMALLEST_SHARE)
    return counted * (1 + strength * (weights - 1))
