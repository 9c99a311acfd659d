"""Sampling beside a clean background: no jumps, for models trained to see the known pixels as they are."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segsmith_shared.plans.presets import SamplingSpec
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import (
    OnEvaluation,
    ddim_step,
    evaluate,
    levels_of,
    noise_like,
    report,
)
from segsmith_worker.diffusion.training import network_input
from segsmith_worker.inpainting.heading import heading


@torch.inference_mode()
def redraw_known_clean(
    model: DiffusionModel,
    known: Tensor,
    region: Tensor,
    seeds: Sequence[int],
    spec: SamplingSpec,
    on_evaluation: OnEvaluation | None = None,
) -> Tensor:
    """Redraw the region (B, 1, H, W) of known pairs (B, C, H, W) in −1..1: pairs (B, C, H, W), unclipped.

    After the idea of TD-Paint (Mayet et al. 2024, arXiv 2410.09306): the known pixels stay clean at every level, so the
    network reads the background instead of guessing it through noise. With `order` 2 every step also reads where the
    prediction is heading, at no evaluation more.
    """
    levels = levels_of(model, spec.evaluations)
    x = noise_like(model, seeds, "start")
    predictions: list[Tensor] = []
    for level in reversed(range(spec.evaluations)):
        x0, _ = evaluate(model, x, network_input(x, known, region), levels, level)
        predictions = [*predictions[-1:], x0.clamp(-1, 1) if spec.clip_denoised else x0]
        target = heading(predictions, levels, level, spec)
        noise = noise_like(model, seeds, "step", level)
        x = ddim_step(x, target, levels.alpha_bar(level), levels.alpha_bar(level - 1), noise, spec.stochasticity)
        report(on_evaluation, spec.evaluations - level, spec.evaluations)
    return region * x + (1 - region) * known
