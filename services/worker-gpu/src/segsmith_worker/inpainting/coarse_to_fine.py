"""Redrawing at half the side first, where an evaluation costs a quarter, then refining at the full one.

After the idea of coarse-to-fine sampling (Zhang et al. 2024, arXiv 2407.05875), derived anew: what goes where is
settled on the small picture, at high noise, with the jumps if there are any; the enlarged result is noised to a middle
level and walked down from there. The same network serves both sides, though it was trained for one.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from segsmith_shared.plans.cost import evaluations_per_sample
from segsmith_shared.plans.jump_schedule import Move, jump_moves
from segsmith_shared.plans.presets import SamplingSpec
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import Levels, OnEvaluation, ddim_step, levels_of, report
from segsmith_worker.diffusion.schedule import (
    alpha_bar_from_log_snr,
    cosine_log_snr,
    linear_schedule,
    q_sample,
)
from segsmith_worker.inpainting.conditioning import predicted
from segsmith_worker.randomness import normal_for


@torch.inference_mode()
def redraw_coarse_to_fine(
    model: DiffusionModel,
    known: Tensor,
    region: Tensor,
    seeds: Sequence[int],
    spec: SamplingSpec,
    on_evaluation: OnEvaluation | None = None,
) -> Tensor:
    """Redraw the region (B, 1, H, W) of known pairs (B, C, H, W) in −1..1: pairs (B, C, H, W), unclipped.

    A coarse pixel belongs to the region if any of its four does, so that nothing to be redrawn shines through.
    """
    total, done = evaluations_per_sample(spec), 0

    def tell() -> None:
        nonlocal done
        done += 1
        report(on_evaluation, done, total)

    coarse_known, coarse_region = functional.avg_pool2d(known, 2), functional.max_pool2d(region, 2)
    coarse_moves = list(jump_moves(spec.coarse_evaluations, spec.jump_length, spec.jump_visits))
    coarse = _Walk(model, coarse_known, coarse_region, seeds, spec, levels_of(model, spec.coarse_evaluations), "coarse")
    drawn = coarse.down(coarse.noise("start"), coarse_moves, tell)
    drawn = drawn.clamp(-1, 1) if spec.clip_denoised else drawn
    enlarged = functional.interpolate(drawn, scale_factor=2.0, mode="bilinear", align_corners=False)
    levels = levels_below(model, spec.evaluations, spec.refined_from)
    fine = _Walk(model, known, region, seeds, spec, levels, "fine")
    start = q_sample(
        region * enlarged + (1 - region) * known, fine.noise("start"), levels.alpha_bar(spec.evaluations - 1)
    )
    x = fine.down(start, list(jump_moves(spec.evaluations, 1, 1)), tell)
    return region * x + (1 - region) * known


def levels_below(model: DiffusionModel, count: int, highest: float) -> Levels:
    """`count` levels of the model's own process in equal steps of its time, from `highest` (1: pure noise) down."""
    diffusion = model.preset.diffusion
    if diffusion.schedule == "linear":
        chain = linear_schedule(diffusion.timesteps)
        top = max(count - 1, round(highest * (diffusion.timesteps - 1)))
        kept = torch.linspace(0, top, count, dtype=torch.float64).round().long() if count > 1 else torch.tensor([top])
        return Levels(chain.alphas_bar[kept], chain.model_times[kept])
    time = torch.linspace(0, highest, count + 1, dtype=torch.float64)[1:].clamp_max(1 - 1e-3)
    return Levels(alpha_bar_from_log_snr(cosine_log_snr(time, diffusion.log_snr_shift)), time * 1000)


class _Walk:
    """One stage at one size; its noise is its own, by the stage's name."""

    def __init__(
        self,
        model: DiffusionModel,
        known: Tensor,
        region: Tensor,
        seeds: Sequence[int],
        spec: SamplingSpec,
        levels: Levels,
        stage: str,
    ) -> None:
        self._model, self._known, self._region, self._seeds = model, known, region, seeds
        self._spec, self._levels, self._stage = spec, levels, stage

    def noise(self, purpose: str, *position: int) -> Tensor:
        """Standard normal, of the stage's size."""
        drawn = normal_for(self._seeds, f"{self._stage} {purpose}", position, self._known.shape[1:])
        return drawn.to(self._model.device)

    def down(self, x: Tensor, moves: Sequence[Move], tell: Callable[[], None]) -> Tensor:
        """From x at the noisiest level to the clean picture, known pixels blended in before each evaluation."""
        levels = self._levels
        for number, move in enumerate(moves):
            alpha_bar = levels.alpha_bar(move.level)
            if move.kind == "renoise":
                kept = (levels.alpha_bar(move.level + 1) / alpha_bar).to(x)
                x = kept.sqrt() * x + (1 - kept).sqrt() * self.noise("renoise", number)
                continue
            blend = q_sample(self._known, self.noise("blend", number), alpha_bar)
            x = self._region * x + (1 - self._region) * blend
            x0 = predicted(self._model, x, self._known, self._region, levels, move.level)
            x0 = x0.clamp(-1, 1) if self._spec.clip_denoised else x0
            tell()
            noise = self.noise("step", number)
            x = ddim_step(x, x0, alpha_bar, levels.alpha_bar(move.level - 1), noise, self._spec.stochasticity)
        return x
