"""Sampling beside a clean background against its equations: the levels, each step, and what the network is shown."""

import math

import pytest
import torch
from torch import Tensor

from segsmith_worker.diffusion.sampling import levels_of, noise_like
from segsmith_worker.inpainting.known_clean import redraw_known_clean
from tests.unit.worker.inpainting.test_samplers import AWARE, SEEDS, oracle, sampling, shown_to

EVALUATIONS = 5


def answer_of(inside: float) -> Tensor:
    answer = torch.full((4, 4, 16, 16), -0.25)
    answer[:, :, 4:12, 4:12] = inside
    return answer


@pytest.mark.parametrize(("inside", "clip"), [(0.5, True), (1.7, True), (1.7, False)])
@pytest.mark.parametrize("stochasticity", [0.0, 1.0])
def test_every_step_is_what_its_equation_says_and_the_known_pixels_end_as_they_were(
    inside: float, clip: bool, stochasticity: float, known: Tensor, region: Tensor
) -> None:
    """Song et al. 2021, eq. 12: x′ = √ᾱ′·x₀ + √(1 − ᾱ′ − σ²)·ε + σ·z, down to ᾱ′ = 1."""
    model = oracle(AWARE, inside=inside)
    spec = sampling(
        AWARE,
        "ancestral_known_clean",
        evaluations=EVALUATIONS,
        order=1,
        stochasticity=stochasticity,
        clip_denoised=clip,
    )
    drawn = redraw_known_clean(model, known, region, SEEDS, spec)

    x0 = answer_of(inside).clamp(-1, 1) if clip else answer_of(inside)
    alphas_bar = levels_of(model, EVALUATIONS).alphas_bar.tolist()
    x, seen = noise_like(model, SEEDS, "start"), []
    for level in (4, 3, 2, 1, 0):
        seen.append(region * x + (1 - region) * known)
        at, after = alphas_bar[level], alphas_bar[level - 1] if level else 1.0
        sigma = stochasticity * math.sqrt((1 - after) / (1 - at) * (1 - at / after))
        epsilon = (x - math.sqrt(at) * x0) / math.sqrt(1 - at)
        noise = noise_like(model, SEEDS, "step", level)
        x = math.sqrt(after) * x0 + math.sqrt(max(0.0, 1 - after - sigma**2)) * epsilon + sigma * noise
    shown = shown_to(model).shown
    assert len(shown) == EVALUATIONS
    for given, wanted in zip(shown, seen, strict=True):
        assert torch.allclose(given[:, :4], wanted, atol=2e-3)
        assert torch.equal(given[:, 4:5], region)
    assert torch.allclose(drawn, region * x + (1 - region) * known, atol=2e-3)
    assert torch.equal(drawn[(region == 0).expand_as(drawn)], known[(region == 0).expand_as(known)])


def shown_with_answers(order: int, answers: list[float], known: Tensor, region: Tensor) -> list[Tensor]:
    """What a network is shown that changes its answer with every evaluation."""
    model = oracle(AWARE, inside=answers[0])
    spec = sampling(AWARE, "ancestral_known_clean", evaluations=4, order=order, stochasticity=0.0, clip_denoised=False)

    def answer_next(report: object) -> None:
        shown_to(model).inside = answers[len(shown_to(model).shown) % 4]

    redraw_known_clean(model, known, region, SEEDS, spec, answer_next)
    return shown_to(model).shown


def test_a_bent_step_goes_where_the_last_two_predictions_are_heading(known: Tensor, region: Tensor) -> None:
    """Lu et al. 2022, algorithm 2: x₀ half a step ahead in log-SNR, at most half as far as the last step went."""
    straight = shown_with_answers(1, [0.1, 0.1, 0.5, 0.9], known, region)
    bent = shown_with_answers(2, [0.1, 0.1, 0.5, 0.9], known, region)
    for at in (0, 1, 2):  # one prediction, or two equal ones, bend nothing
        assert torch.allclose(bent[at], straight[at], atol=1e-4)
    alphas_bar = levels_of(oracle(AWARE), 4).alphas_bar
    before, here, after = (float(torch.logit(alphas_bar[level])) for level in (2, 1, 0))
    further = min((after - here) / (here - before), 1.0) / 2 * (0.5 - 0.1)
    signal, spread = alphas_bar.sqrt().tolist(), (1 - alphas_bar).sqrt().tolist()
    moved = further * (signal[0] - signal[1] * spread[0] / spread[1])  # x₀ moves x′ itself, and through ε
    difference = (bent[3] - straight[3])[:, :4, 5:8, 6:11]  # inside of both the region and the answer
    assert moved > 0.05
    assert torch.allclose(difference, torch.full_like(difference, moved), atol=1e-3)


def test_reports_count_every_evaluation(known: Tensor, region: Tensor) -> None:
    seen: list[tuple[int, int]] = []
    spec = sampling(AWARE, "ancestral_known_clean", evaluations=3)
    redraw_known_clean(
        oracle(AWARE),
        known,
        region,
        SEEDS,
        spec,
        lambda report: seen.append((report.evaluations_done, report.evaluations_total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
