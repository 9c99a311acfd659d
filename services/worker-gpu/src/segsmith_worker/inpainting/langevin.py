"""Redrawing with Langevin corrections: at each noise level the region is brought into balance with its surroundings.

After the idea of LanPaint (Zheng et al. 2025, arXiv 2502.03491), derived anew for pairs. Jumps repair a seam by walking
back up; here x moves at its own level along the score of p(x_t | known) until region and surroundings agree.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from segsmith_shared.plans.cost import evaluations_per_sample
from segsmith_shared.plans.presets import SamplingSpec
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import OnEvaluation, ddim_step, levels_of, noise_like, report
from segsmith_worker.inpainting.conditioning import predicted
from segsmith_worker.inpainting.heading import heading


@torch.inference_mode()
def redraw_with_langevin(
    model: DiffusionModel,
    known: Tensor,
    region: Tensor,
    seeds: Sequence[int],
    spec: SamplingSpec,
    on_evaluation: OnEvaluation | None = None,
) -> Tensor:
    """Redraw the region (B, 1, H, W) of known pairs (B, C, H, W) in −1..1: pairs (B, C, H, W), unclipped.

    At every level `langevin_steps` corrections, then one DDIM step. The known pixels take part with their noise, for a
    model that does not see them clean; its step carries them along the path that ends in them exactly.
    """
    levels = levels_of(model, spec.respaced_steps)
    total = evaluations_per_sample(spec)
    x = noise_like(model, seeds, "start")
    predictions: list[Tensor] = []
    done = 0
    for level in reversed(range(spec.respaced_steps)):
        alpha_bar = levels.alpha_bar(level)
        for correction in range(spec.langevin_steps + 1):
            x0 = predicted(model, x, known, region, levels, level)
            x0 = x0.clamp(-1, 1) if spec.clip_denoised else x0
            done += 1
            report(on_evaluation, done, total)
            if correction < spec.langevin_steps:
                centre = alpha_bar.to(x).sqrt() * _pulled(x0, known, region, spec.langevin_guidance)
                noise = noise_like(model, seeds, "correction", level, correction)
                x = langevin_step(x, centre, alpha_bar, spec.langevin_renewal, noise)
        predictions = [*predictions[-1:], x0]
        target = region * heading(predictions, levels, level, spec) + (1 - region) * known
        noise = noise_like(model, seeds, "step", level)
        x = ddim_step(x, target, alpha_bar, levels.alpha_bar(level - 1), noise, spec.stochasticity)
    return region * x + (1 - region) * known


def langevin_step(x_t: Tensor, centre: Tensor, alpha_bar: Tensor, renewal: float, noise: Tensor) -> Tensor:
    """dx = −(x − centre)/(1 − ᾱ) dτ + √2 dW, solved exactly while the centre √ᾱ·x₀ stands still.

    The score of q(x_t | x₀) is linear in x, so one step of any size is stable: a share `renewal` of the variance
    1 − ᾱ is new, the rest is kept; at 1, x is drawn anew around the centre.
    """
    kept = math.sqrt(1 - renewal)
    return centre + kept * (x_t - centre) + ((1 - alpha_bar.to(x_t)) * renewal).sqrt() * noise


def _pulled(x0: Tensor, known: Tensor, region: Tensor, guidance: float) -> Tensor:
    """What each pixel is drawn to: the prediction in the region; elsewhere the known value, and beyond it.

    The known pixels' score is that of q(y_t | y₀) plus `guidance` times how far the model's own score of them is off:
    (1 + λ)·s(y_t | y₀) − λ·s(y_t), whose centre is y₀ + λ·(y₀ − ŷ₀). So a region that does not fit what surrounds it
    makes the surroundings say so louder, and the next evaluation of the region hears it.
    """
    return region * x0 + (1 - region) * (known + guidance * (known - x0))
