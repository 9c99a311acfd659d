"""Sampling beside a clean background: no jumps, for models trained to see the known pixels as they are."""

from collections.abc import Sequence

import torch
from torch import Tensor

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
from segsmith_worker.diffusion.training import network_input


@torch.inference_mode()
def redraw_known_clean(
    model: DiffusionModel,
    known: Tensor,
    region: Tensor,
    seeds: Sequence[int],
    spec: SamplingSpec,
    on_evaluation: OnEvaluation | None = None,
) -> Tensor:
    """Redraw the region (B, 1, H, W) of known pairs (B, 4, H, W) in −1..1: pairs (B, 4, H, W), unclipped.

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
        target = predictions[-1] if spec.order == 1 else heading(predictions, levels, level)
        target = target.clamp(-1, 1) if spec.clip_denoised else target
        noise = noise_like(model, seeds, "step", level)
        x = ddim_step(x, target, levels.alpha_bar(level), levels.alpha_bar(level - 1), noise, spec.stochasticity)
        report(on_evaluation, spec.evaluations - level, spec.evaluations)
    return region * x + (1 - region) * known


def heading(predictions: Sequence[Tensor], levels: Levels, level: int) -> Tensor:
    """x₀ half a step ahead in log-SNR, on the line through the last two predictions; of only one, that.

    DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2). The last step, which ends in the clean picture, is
    infinitely long in log-SNR and takes the prediction as it is.
    """
    if len(predictions) < 2 or level == 0:
        return predictions[-1]
    before, here, ahead = (_log_snr(levels, each) for each in (level + 1, level, level - 1))
    share = float((ahead - here) / (here - before)) / 2
    return predictions[-1] + share * (predictions[-1] - predictions[-2])


def _log_snr(levels: Levels, level: int) -> Tensor:
    return torch.logit(levels.alpha_bar(level))
