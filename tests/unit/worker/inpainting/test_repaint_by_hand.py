"""RePaint against its equations written out by hand: every blend, jump and step, and what the network is shown."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.jump_schedule import jump_moves
from segsmith_shared.plans.presets import SamplingSpec
from segsmith_worker.diffusion.sampling import noise_like
from segsmith_worker.inpainting.blended import redraw_blended
from segsmith_worker.inpainting.repaint import redraw_with_repaint
from tests.unit.worker.inpainting.test_samplers import PLAIN, SEEDS, OracleModel, oracle, sampling, shown_to

LEVELS, LENGTH, VISITS = 6, 2, 3


def kept_alphas_bar() -> list[float]:
    """ᾱ of 6 of 1000 levels, evenly spaced and rounded; β from 1e-4 to .02."""
    betas = [1e-4 + (0.02 - 1e-4) * step / 999 for step in range(1000)]
    alphas_bar, product = [], 1.0
    for beta in betas:
        product *= 1 - beta
        alphas_bar.append(product)
    return [alphas_bar[round(999 * place / (LEVELS - 1))] for place in range(LEVELS)]


class ByHand:
    """The walk of Lugmayr et al. 2022, Algorithm 1, with Σ half way between β and β̃ in log space."""

    def __init__(self, model: OracleModel, known: Tensor, region: Tensor) -> None:
        self.model, self.known, self.region = model, known, region
        self.alphas_bar = kept_alphas_bar()
        ratios = [after / before for before, after in pairwise([1.0, *self.alphas_bar])]
        self.betas = [1 - ratio for ratio in ratios]
        self.shown: list[Tensor] = []

    def noise(self, purpose: str, *position: int) -> Tensor:
        return noise_like(self.model, SEEDS, purpose, *position)

    def drawn(self, x0: Tensor, *, clip: bool) -> Tensor:
        x = self.noise("start")
        evaluated = False
        for number, (kind, t) in enumerate(jump_moves(LEVELS, LENGTH, VISITS)):
            if kind == "renoise":
                beta = self.betas[t + 1]  # from t to t + 1
                x = math.sqrt(1 - beta) * x + math.sqrt(beta) * self.noise("renoise", number)
                continue
            if evaluated:
                signal, spread = math.sqrt(self.alphas_bar[t]), math.sqrt(1 - self.alphas_bar[t])
                known_at_t = signal * self.known + spread * self.noise("blend", number)
                x = torch.where(self.region == 1, x, known_at_t)
            self.shown.append(x)
            x = self.one_step_down(x, x0.clamp(-1, 1) if clip else x0, t, number)
            evaluated = True
        return x

    def one_step_down(self, x: Tensor, x0: Tensor, t: int, number: int) -> Tensor:
        before = self.alphas_bar[t - 1] if t else 1.0
        beta, alpha_bar = self.betas[t], self.alphas_bar[t]
        of_x0 = math.sqrt(before) * beta / (1 - alpha_bar)
        of_x = math.sqrt(1 - beta) * (1 - before) / (1 - alpha_bar)
        mean = of_x0 * x0 + of_x * x
        if t == 0:
            return mean
        posterior = beta * (1 - before) / (1 - alpha_bar)
        return mean + math.sqrt(math.sqrt(beta * posterior)) * self.noise("step", number)


def spec_of(sampler: str, *, clip: bool) -> SamplingSpec:
    walk = {"respaced_steps": LEVELS, "jump_length": LENGTH, "jump_visits": VISITS}
    return sampling(PLAIN, sampler, clip_denoised=clip, **walk)


@pytest.mark.parametrize(("inside", "clip"), [(0.5, True), (1.7, True), (1.7, False)])
def test_every_step_of_repaint_is_what_its_equations_say(
    inside: float, clip: bool, known: Tensor, region: Tensor
) -> None:
    model = oracle(PLAIN, inside=inside)
    drawn = redraw_with_repaint(model, known, region, SEEDS, spec_of("repaint", clip=clip))
    answer = torch.full((4, 4, 16, 16), -0.25)
    answer[:, :, 4:12, 4:12] = inside
    by_hand = ByHand(model, known, region)
    expected = by_hand.drawn(answer, clip=clip)
    shown = shown_to(model).shown
    assert len(shown) == len(by_hand.shown) == 6 + 2 * 2 * 2
    for seen, wanted in zip(shown, by_hand.shown, strict=True):
        assert torch.allclose(seen, wanted, atol=2e-4)
    assert torch.allclose(drawn, expected, atol=2e-3)


@pytest.mark.parametrize("sampler", ["repaint", "blended"])
def test_the_first_evaluation_sees_noise_alone_and_every_later_one_the_known_pixels_at_its_level(
    sampler: str, known: Tensor, region: Tensor
) -> None:
    draw = {"repaint": redraw_with_repaint, "blended": redraw_blended}[sampler]
    model, clean = oracle(PLAIN), torch.full_like(known, 0.9)
    draw(model, clean, region, SEEDS, spec_of(sampler, clip=True))
    first, *later = shown_to(model).shown
    assert torch.equal(first, noise_like(model, SEEDS, "start"))
    levels = [move.level for move in jump_moves(LEVELS, LENGTH, VISITS) if move.kind == "denoise"][1:]
    outside = (region == 0).expand_as(known)
    for seen, level in zip(later, levels, strict=True):
        wanted = math.sqrt(kept_alphas_bar()[level]) * 0.9
        assert seen[outside].mean().item() == pytest.approx(wanted, abs=0.06)


def test_reports_count_every_evaluation_up_to_the_total_that_was_announced(known: Tensor, region: Tensor) -> None:
    seen: list[tuple[int, int]] = []
    redraw_with_repaint(
        oracle(PLAIN),
        known,
        region,
        SEEDS,
        spec_of("repaint", clip=True),
        lambda report: seen.append((report.evaluations_done, report.evaluations_total)),
    )
    assert seen == [(done, 14) for done in range(1, 15)]
