"""Respaced sampling with blending: RePaint's idea on few levels, with DDIM steps in place of ancestral ones."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segsmith_shared.plans.jump_schedule import count_evaluations, jump_moves
from segsmith_shared.plans.presets import SamplingSpec
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import (
    Levels,
    OnEvaluation,
    ddim_step,
    evaluate,
    levels_of,
    noise_like,
    report,
)
from segsmith_worker.diffusion.schedule import q_sample


@torch.inference_mode()
def redraw_blended(
    model: DiffusionModel,
    known: Tensor,
    region: Tensor,
    seeds: Sequence[int],
    spec: SamplingSpec,
    on_evaluation: OnEvaluation | None = None,
) -> Tensor:
    """Redraw the region (B, 1, H, W) of known pairs (B, C, H, W) in −1..1: pairs (B, C, H, W), unclipped.

    As in RePaint the known pixels, noised to the level at hand, are blended in before every step but the first, and
    the walk may jump back; the steps are those of DDIM (Song et al. 2021), which bear far fewer levels. Without
    stochasticity the known pixels keep one noise for the whole walk, so that the path is deterministic given its start.
    """
    levels = levels_of(model, spec.respaced_steps)
    total = count_evaluations(spec.respaced_steps, spec.jump_length, spec.jump_visits)
    x = noise_like(model, seeds, "start")
    lasting_noise = noise_like(model, seeds, "blend") if spec.stochasticity == 0 else None
    done = 0
    for number, move in enumerate(jump_moves(spec.respaced_steps, spec.jump_length, spec.jump_visits)):
        if move.kind == "renoise":
            x = _renoised(x, levels, move.level, noise_like(model, seeds, "renoise", number))
            continue
        if done:
            noise = noise_like(model, seeds, "blend", number) if lasting_noise is None else lasting_noise
            x = (1 - region) * q_sample(known, noise, levels.alpha_bar(move.level)) + region * x
        x0, _ = evaluate(model, x, x, levels, move.level)
        x0 = x0.clamp(-1, 1) if spec.clip_denoised else x0
        alpha_bar, cleaner = levels.alpha_bar(move.level), levels.alpha_bar(move.level - 1)
        x = ddim_step(x, x0, alpha_bar, cleaner, noise_like(model, seeds, "step", number), spec.stochasticity)
        done += 1
        report(on_evaluation, done, total)
    return x


def _renoised(x: Tensor, levels: Levels, level: int, noise: Tensor) -> Tensor:
    """One level up: what q(x_{t+1} | x_t) is on these levels, whatever their spacing."""
    kept = (levels.alpha_bar(level + 1) / levels.alpha_bar(level)).to(x.dtype)
    return kept.sqrt() * x + (1 - kept).sqrt() * noise
