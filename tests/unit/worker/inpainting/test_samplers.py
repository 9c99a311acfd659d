"""Coarse to fine, Langevin corrections, bent steps, cores of labels: each does what it is asked for, and only there."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.presets import Preset, SamplingSpec, preset_named
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import Levels, levels_of
from segsmith_worker.diffusion.training import TrainingState, signed
from segsmith_worker.inpainting.coarse_to_fine import levels_below, redraw_coarse_to_fine
from segsmith_worker.inpainting.heading import heading
from segsmith_worker.inpainting.known_clean import redraw_known_clean
from segsmith_worker.inpainting.langevin import langevin_step, redraw_with_langevin
from segsmith_worker.inpainting.redraw import ModelCannotRedraw, redraw
from tests.fixtures.smallest_network import NETWORK

AWARE = preset_named("tiny-cpu").with_overrides({"network": NETWORK, "sampling.batch": 4})
PLAIN = preset_named("paper-256-2023").with_overrides({"network": NETWORK, "sampling.batch": 4})
SEEDS = [5, 6, 7, 8]


class Oracle:
    """Stands where a network does and knows the answer: every pixel of x₀ has one value, `inside` in the region.

    `sides_px` are the sides it was shown, one entry per evaluation.
    """

    clusters = 0

    def __init__(self, preset: Preset, inside: float, outside: float = 0.0) -> None:
        self.preset, self.inside, self.outside = preset, inside, outside
        self.sides_px: list[int] = []
        self.shown: list[Tensor] = []

    def parameters(self) -> list[Tensor]:
        return [torch.zeros(1)]

    def __iter__(self) -> object:
        return iter(self.parameters())


class OracleModel(DiffusionModel):
    """A model whose prediction of x₀ is known: what is tested is the sampler around it."""

    def predict(self, network_input: Tensor, times: Tensor) -> Tensor:
        oracle: Oracle = self.network  # type: ignore[assignment]
        oracle.sides_px.append(network_input.shape[-1])
        oracle.shown.append(network_input)
        side_px = network_input.shape[-1]
        x0 = torch.full((len(network_input), 4, side_px, side_px), oracle.outside)
        x0[:, :, side_px // 4 : -side_px // 4, side_px // 4 : -side_px // 4] = oracle.inside
        x_t, alpha_bar = network_input[:, :4], self._alpha_bar(float(times[0]))
        if self.preset.diffusion.prediction == "v":
            return (math.sqrt(alpha_bar) * x_t - x0) / math.sqrt(1 - alpha_bar)
        epsilon = (x_t - math.sqrt(alpha_bar) * x0) / math.sqrt(1 - alpha_bar)
        return torch.cat([epsilon, torch.zeros_like(epsilon)], dim=1)

    def _alpha_bar(self, time: float) -> float:
        everything = levels_of(self, 1000)
        at = int((everything.model_times - time).abs().argmin())
        exact = levels_below(self, 1, time / 1000) if self.preset.diffusion.schedule == "cosine" else everything
        return float(exact.alphas_bar[0 if len(exact.alphas_bar) == 1 else at])

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")


def oracle(preset: Preset, inside: float = 0.5, outside: float = -0.25) -> OracleModel:
    return OracleModel(Oracle(preset, inside, outside), preset, "average")  # type: ignore[arg-type]


def shown_to(model: OracleModel) -> Oracle:
    network: Oracle = model.network  # type: ignore[assignment]
    return network


@pytest.fixture
def known() -> Tensor:
    """Pairs (4, 4, 16, 16) that are −.25 everywhere, with a lesion of 8 × 8 in the mask channel."""
    pairs = torch.full((4, 4, 16, 16), -0.25)
    pairs[:, 3] = -1
    pairs[:, 3, 4:12, 4:12] = 1
    return pairs


@pytest.fixture
def region() -> Tensor:
    inside = torch.zeros(4, 1, 16, 16)
    inside[:, :, 4:12, 4:12] = 1
    return inside


def sampling(preset: Preset, sampler: str, **changed: object) -> SamplingSpec:
    return preset.with_overrides({"sampling": {"sampler": sampler, "jump_visits": 1, **changed}}).sampling


@pytest.fixture(params=[AWARE, PLAIN], ids=["aware", "plain"])
def preset(request: pytest.FixtureRequest) -> Preset:
    chosen: Preset = request.param
    return chosen


@pytest.mark.parametrize("sampler", ["langevin", "coarse_to_fine"])
def test_what_the_model_predicts_is_drawn_and_what_is_known_is_kept(
    preset: Preset, sampler: str, known: Tensor, region: Tensor
) -> None:
    draw = {"langevin": redraw_with_langevin, "coarse_to_fine": redraw_coarse_to_fine}[sampler]
    spec = sampling(preset, sampler, respaced_steps=6, evaluations=6, coarse_evaluations=4)
    drawn = draw(oracle(preset), known, region, SEEDS, spec)
    inside = region.expand_as(drawn) == 1
    assert torch.allclose(drawn[inside], torch.tensor(0.5), atol=0.05)
    assert torch.equal(drawn[~inside], known[~inside])


def test_the_coarse_stage_looks_at_half_the_side_and_the_fine_one_at_all_of_it(known: Tensor, region: Tensor) -> None:
    model = oracle(PLAIN)
    spec = sampling(PLAIN, "coarse_to_fine", coarse_evaluations=5, evaluations=3, jump_length=2, jump_visits=2)
    redraw_coarse_to_fine(model, known, region, SEEDS, spec)
    assert shown_to(model).sides_px == [8] * (5 + 2 * 2) + [16] * 3


def test_the_fine_stage_goes_on_from_what_the_coarse_one_drew(known: Tensor, region: Tensor) -> None:
    """At a low level little noise is added again: the first thing the fine stage sees is the coarse picture."""
    model = oracle(AWARE, inside=0.8)
    spec = sampling(AWARE, "coarse_to_fine", coarse_evaluations=5, evaluations=2, refined_from=0.02)
    redraw_coarse_to_fine(model, known, region, SEEDS, spec)
    first_fine = shown_to(model).shown[5]
    assert first_fine[:, :3, 6:10, 6:10].mean() == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("highest", [0.3, 0.9])
def test_refining_starts_at_the_level_asked_for_and_ends_near_clean(preset: Preset, highest: float) -> None:
    levels = levels_below(oracle(preset), 8, highest)
    assert float(levels.model_times[-1]) == pytest.approx(1000 * highest, rel=0.01)
    assert (levels.alphas_bar.diff() < 0).all()
    assert levels.alphas_bar[0] > 0.9


def test_one_level_alone_is_the_highest(preset: Preset) -> None:
    assert float(levels_below(oracle(preset), 1, 0.5).model_times[0]) == pytest.approx(500, rel=0.01)


def test_langevin_steps_settle_in_the_distribution_of_their_level() -> None:
    """Many steps from far away: mean and variance of q(x_t | x₀), whatever the size of a step."""
    alpha_bar = torch.tensor(0.36, dtype=torch.float64)
    for renewal in (0.05, 0.5, 1.0):
        x, centre = torch.full((20_000,), 9.0), torch.full((20_000,), 0.6 * 0.5)
        for step in range(400):
            noise = torch.randn(20_000, generator=torch.Generator().manual_seed(step))
            x = langevin_step(x, centre, alpha_bar, renewal, noise)
        assert x.mean() == pytest.approx(0.3, abs=0.03)
        assert x.var() == pytest.approx(0.64, abs=0.03)


def test_a_larger_renewal_forgets_more_of_what_was_there() -> None:
    x, centre, noise = torch.full((4,), 2.0), torch.zeros(4), torch.zeros(4)
    moved = [langevin_step(x, centre, torch.tensor(0.5), renewal, noise)[0].item() for renewal in (0.1, 0.5, 1.0)]
    assert 2 > moved[0] > moved[1] > moved[2] == 0


def test_guidance_tells_the_model_louder_what_it_gets_wrong_about_the_surroundings(
    known: Tensor, region: Tensor
) -> None:
    """The model takes the surroundings (−.25) for .75: what it is shown of them moves away from its error."""
    shown = []
    for guidance in (0.0, 4.0):
        model = oracle(PLAIN, outside=0.75)
        spec = sampling(PLAIN, "langevin", respaced_steps=4, langevin_steps=2, langevin_guidance=guidance)
        redraw_with_langevin(model, known, region, SEEDS, spec)
        shown.append(shown_to(model).shown[-1][:, :3, :3].mean().item())
    assert shown[0] == pytest.approx(-0.25, abs=0.05)
    assert shown[1] < shown[0] - 0.2


def test_every_correction_is_an_evaluation(preset: Preset, known: Tensor, region: Tensor) -> None:
    model = oracle(preset)
    spec = sampling(preset, "langevin", respaced_steps=4, langevin_steps=3)
    redraw_with_langevin(model, known, region, SEEDS, spec)
    assert len(shown_to(model).sides_px) == 4 * (1 + 3)


def test_bent_steps_look_ahead_along_the_line_of_the_last_predictions() -> None:
    log_snr = torch.tensor([4.0, 2.0, 1.0, -1.0], dtype=torch.float64)
    levels = Levels(torch.sigmoid(log_snr), torch.arange(4.0))
    before, now = torch.zeros(1), torch.ones(1)
    bent = AWARE.sampling.model_copy(update={"clip_denoised": False})
    assert heading([now], levels, 3, bent) == now
    # from −1 to 1 the prediction rose by 1; half of the step from 1 to 2 is a quarter of that way
    assert heading([before, now], levels, 2, bent).item() == pytest.approx(1.25)
    assert heading([before, now], levels, 2, AWARE.sampling) == 1
    assert heading([before, now], levels, 2, bent.model_copy(update={"order": 1})) == now
    assert heading([before, now], levels, 0, bent) == now


def test_no_step_looks_further_ahead_than_half_as_far_as_the_last_one_went() -> None:
    """The last steps are several times as long in log-SNR as those before: lines drawn so far only overshoot."""
    levels = Levels(torch.sigmoid(torch.tensor([9.0, 2.0, 1.0], dtype=torch.float64)), torch.arange(3.0))
    bent = AWARE.sampling.model_copy(update={"clip_denoised": False})
    assert heading([torch.zeros(1), torch.ones(1)], levels, 1, bent).item() == pytest.approx(1.5)


def test_bent_steps_come_nearer_to_the_exact_path_than_straight_ones(known: Tensor, region: Tensor) -> None:
    """An untrained network bends its path; 200 straight deterministic steps are the ruler."""
    network = TrainingState.start(AWARE, 3).network
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn(
            parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())
        )
    model = DiffusionModel(network.eval(), AWARE, "raw")

    def drawn(evaluations: int, order: int) -> Tensor:
        spec = sampling(AWARE, "ancestral_known_clean", evaluations=evaluations, order=order, stochasticity=0.0)
        return redraw_known_clean(model, known, region, SEEDS, spec.model_copy(update={"clip_denoised": False}))

    exact = drawn(200, 1)
    straight, bent = ((drawn(12, order) - exact).abs().mean().item() for order in (1, 2))
    assert bent < 0.7 * straight


@pytest.mark.parametrize("sampler", ["repaint", "blended", "langevin", "coarse_to_fine"])
def test_the_core_of_a_lesion_stays_in_the_label_of_a_model_that_draws_none(sampler: str) -> None:
    healthy = oracle(PLAIN, inside=-1.0, outside=-1.0)
    sources = torch.zeros(4, 4, 16, 16, dtype=torch.uint8)
    sources[:, 3, 4:12, 4:12] = 255
    changed = {"respaced_steps": 8, "jump_length": 2, "evaluations": 4, "coarse_evaluations": 4, "opening_px": 0}
    spec = sampling(PLAIN, sampler, **changed)
    model = replace(healthy, preset=PLAIN)
    assert not any(redraw(model, sources, SEEDS, spec).accepted)
    lesions = [redraw(model, sources, SEEDS, spec.model_copy(update={"label_core": core})) for core in (0.4, 1.0)]
    assert all(lesions[0].accepted)
    assert 0 < lesions[0].labels.sum() < lesions[1].labels.sum()
    assert torch.equal(lesions[1].labels > 0, sources[:, 3] >= 128)


def test_a_core_is_refused_by_a_model_that_redraws_whole_regions() -> None:
    with pytest.raises(ModelCannotRedraw, match="whole regions"):
        redraw(
            oracle(AWARE),
            torch.zeros(4, 4, 16, 16, dtype=torch.uint8),
            SEEDS,
            AWARE.sampling.model_copy(update={"label_core": 0.5}),
        )


def test_an_oracle_is_worth_trusting() -> None:
    """Guards the tests above: the stand-in predicts what it says, on both processes."""
    for preset in (AWARE, PLAIN):
        model = oracle(preset, inside=0.5, outside=0.5)
        levels = levels_of(model, 10)
        alpha_bar = levels.alpha_bar(4).float()
        pairs = torch.zeros(1, 4, 16, 16, dtype=torch.uint8)
        x_t = alpha_bar.sqrt() * signed(pairs) + (1 - alpha_bar).sqrt() * torch.from_numpy(
            np.random.Generator(np.random.PCG64(1)).normal(size=(1, 4, 16, 16)).astype(np.float32)
        )
        output = model.predict(x_t, levels.model_times[4].expand(1))[:, :4]
        if preset.diffusion.prediction == "v":
            x0 = alpha_bar.sqrt() * x_t - (1 - alpha_bar).sqrt() * output
        else:
            x0 = (x_t - (1 - alpha_bar).sqrt() * output) / alpha_bar.sqrt()
        assert torch.allclose(x0, torch.tensor(0.5), atol=0.02)
