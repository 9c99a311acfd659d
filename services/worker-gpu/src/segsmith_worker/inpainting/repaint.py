"""RePaint (Lugmayr et al. 2022): redraw with an unconditional model by walking up and down its noise levels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segsmith_shared.plans.jump_schedule import count_evaluations, jump_moves
from segsmith_shared.plans.presets import SamplingSpec
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import (
    Levels,
    OnEvaluation,
    ancestral_step,
    chain_of,
    evaluate,
    noise_like,
    report,
)
from segsmith_worker.diffusion.schedule import q_sample


@torch.inference_mode()
def redraw_with_repaint(
    model: DiffusionModel,
    known: Tensor,
    region: Tensor,
    seeds: Sequence[int],
    spec: SamplingSpec,
    on_evaluation: OnEvaluation | None = None,
) -> Tensor:
    """Redraw the region (B, 1, H, W) of known pairs (B, C, H, W) in −1..1: pairs (B, C, H, W), unclipped.

    Every reverse step but the first blends the known pixels in first, noised to the level at hand: x_t ~ q(x_t | x₀).
    (The printed Algorithm 1, line 5, leaves out the square root of the variance.)
    """
    chain = chain_of(model, spec.respaced_steps)
    levels = Levels(chain.alphas_bar, chain.model_times)
    total = count_evaluations(spec.respaced_steps, spec.jump_length, spec.jump_visits)
    x = noise_like(model, seeds, "start")
    done = 0
    for number, move in enumerate(jump_moves(spec.respaced_steps, spec.jump_length, spec.jump_visits)):
        if move.kind == "renoise":
            beta = chain.betas[move.level + 1].to(x.dtype)
            x = (1 - beta).sqrt() * x + beta.sqrt() * noise_like(model, seeds, "renoise", number)
            continue
        if done:
            noised = q_sample(known, noise_like(model, seeds, "blend", number), chain.alphas_bar[move.level])
            x = (1 - region) * noised + region * x
        x0, range_output = evaluate(model, x, x, levels, move.level)
        x0 = x0.clamp(-1, 1) if spec.clip_denoised else x0
        x = ancestral_step(x, x0, range_output, chain, move.level, noise_like(model, seeds, "step", number))
        done += 1
        report(on_evaluation, done, total)
    return x
