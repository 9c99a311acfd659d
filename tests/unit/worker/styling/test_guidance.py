"""Guidance: one evaluation a step, the published update, and every term lower than without it."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from segsmith_shared.plans.styling import StylingSpec, styling_cost
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import ddim_step, evaluate, levels_of
from segsmith_worker.diffusion.training import signed
from segsmith_worker.randomness import normal_for
from segsmith_worker.styling.guidance import (
    OnStep,
    StyleBatch,
    StyleStep,
    StylingDiverged,
    Towers,
    inverted,
    restyled,
)
from segsmith_worker.styling.losses import TERMS, Term

SEEDS = [11, 22, 33]
NO_PULL: dict[str, Any] = {f"{name}_weight": 0.0 for name in TERMS}


def spec_of(**changed: Any) -> StylingSpec:
    """Six guided steps of ten, whose weights pull as written."""
    short = {"respaced_steps": 10, "skipped_steps": 4, "divergence_until": 3, "weights_scale_with_area": False}
    exact = {"precision": "float32"}
    gentle = {f"{name}_weight": 1.0 for name in TERMS}
    return StylingSpec().with_overrides(short | exact | gentle | changed)


@dataclass(frozen=True)
class Scene:
    """Three pairs, what they are styled after, and where."""

    towers: Towers
    contents: Tensor
    targets: Tensor
    regions: Tensor

    def batch(self, model: DiffusionModel, spec: StylingSpec, rows: slice = slice(None)) -> StyleBatch:
        region = self.regions[rows, None].float()
        inside = model.preset.training.inpainting_aware or spec.extent == "region"
        content, target = signed(self.contents[rows]), signed(self.targets[rows])
        drawn = region if inside else torch.ones_like(region)
        return StyleBatch(model, self.towers, content, target, region, drawn, SEEDS[rows], spec)


@pytest.fixture
def scene(towers: Towers, contents: Tensor, targets: Tensor, regions: Tensor) -> Scene:
    return Scene(towers, contents, targets, regions)


@pytest.mark.parametrize("changed", [{}, {"zecon_features": "x_t"}, {"zecon_weight": 0.0}, {"start": "ddim_inversion"}])
def test_a_step_takes_one_evaluation_and_all_of_them_are_planned(
    model: DiffusionModel, scene: Scene, changed: dict[str, Any]
) -> None:
    spec = spec_of(**changed)
    entered: list[bool] = []
    evaluated: list[bool] = []
    told: list[StyleStep] = []
    hooks = (
        model.network.input_blocks[0].register_forward_hook(lambda *_: entered.append(True)),
        model.network.middle_block.register_forward_hook(lambda *_: evaluated.append(True)),
    )
    restyled(scene.batch(model, spec), told.append)
    for hook in hooks:
        hook.remove()
    cost = styling_cost(spec, 1)
    assert len(evaluated) == cost.forwards_per_sample
    assert len(entered) - len(evaluated) == cost.encoder_passes_per_sample
    assert [step.evaluations_done for step in told] == list(range(1, cost.forwards_per_sample + 1))
    assert {step.evaluations_total for step in told} == {cost.forwards_per_sample}


def test_target_features_are_computed_once(paper: DiffusionModel, scene: Scene) -> None:
    class Counting:
        name, digest, stand_in = "counting", "none", True
        pictures: list[Tensor] = []  # noqa: RUF012 - one test's own list

        def vectors(self, pictures: Tensor) -> Tensor:
            self.pictures.append(pictures.detach())
            return scene.towers.style.vectors(pictures)

    counting = Scene(Towers(Counting(), scene.towers.texture), scene.contents, scene.targets, scene.regions)
    spec = spec_of()
    restyled(counting.batch(paper, spec))
    assert len(Counting.pictures) == 2 + spec.guided_steps  # target, content, then each step's picture
    torch.testing.assert_close(Counting.pictures[0], scene.targets / 255)


def plainly_guided(scene: Scene, model: DiffusionModel, spec: StylingSpec, row: int) -> Tensor:
    """One sample of an ε-model, written out from the papers' equations with L2 and MSE alone."""
    levels = levels_of(model, spec.respaced_steps)
    content, target = signed(scene.contents[row]), signed(scene.targets[row])
    kept = (~scene.regions[row]).float()
    bars = [1.0, *levels.alphas_bar.tolist()]

    def noise(purpose: str, level: int) -> Tensor:
        return normal_for([SEEDS[row]], f"style-{purpose}", [level], content.shape)[0]

    top, x0 = spec.guided_steps - 1, content
    x = bars[top + 1] ** 0.5 * content + (1 - bars[top + 1]) ** 0.5 * noise("start", top)
    for level in reversed(range(spec.guided_steps)):
        bar, before = bars[level + 1], bars[level]
        beta = 1 - bar / before
        x = x.detach().requires_grad_()
        output = model.network(x[None], levels.model_times[level][None])[0]
        x0 = (x - (1 - bar) ** 0.5 * output[:4]) / bar**0.5
        share = (1 - bar) ** 0.5
        x_in = share * x0 + (1 - share) * x
        y_t = bar**0.5 * content + (1 - bar) ** 0.5 * noise("content", level)
        y_in = share * content + (1 - share) * y_t
        l2 = (((x_in[:3] - target) ** 2) * kept).sum() / (3 * kept.sum())
        mse = ((x_in - y_in) ** 2).mean()
        (slope,) = torch.autograd.grad(spec.l2_weight * l2 + spec.mse_weight * mse, x)
        posterior = (
            beta * (1 - before) / (1 - bar) if level else (1 - bars[2] / bars[1]) * (1 - bars[1]) / (1 - bars[2])
        )
        mixing = (output[4:] + 1) / 2
        variance = torch.exp(mixing * torch.tensor(beta).log() + (1 - mixing) * torch.tensor(posterior).log()).detach()
        x0 = x0.detach().clamp(-1, 1)
        mean = beta * before**0.5 / (1 - bar) * x0 + (1 - beta) ** 0.5 * (1 - before) / (1 - bar) * x.detach()
        x = mean - variance * slope + variance.sqrt() * noise("step", level)
    return x0


def test_the_loop_is_the_published_update_computed_sample_by_sample(paper: DiffusionModel, scene: Scene) -> None:
    spec = spec_of(**(NO_PULL | {"l2_weight": 8.0, "mse_weight": 5.0}))
    ours = restyled(scene.batch(paper, spec))
    for row in range(3):
        torch.testing.assert_close(ours[row], plainly_guided(scene, paper, spec, row), rtol=1e-4, atol=1e-4)


def test_a_sample_styled_alone_agrees_with_one_styled_among_three(model: DiffusionModel, scene: Scene) -> None:
    spec = spec_of(vgg_weight=0.1)
    among_three = restyled(scene.batch(model, spec))
    for row in range(3):
        alone = restyled(scene.batch(model, spec, slice(row, row + 1)))
        assert (alone[0] - among_three[row]).abs().max() < 1e-4


def summed(model: DiffusionModel, scene: Scene, term: Term, weight: float) -> Tensor:
    """The term added up over all steps, (3,), when it alone pulls with this weight."""
    told: list[StyleStep] = []
    pull = NO_PULL | {f"{term}_weight": weight, "divergence_until": 0}
    everywhere = {"l2_region": "all"}  # an aware model keeps what `kept` would compare
    restyled(scene.batch(model, spec_of(**pull, **everywhere)), told.append)
    return torch.stack([step.terms[term] for step in told if term in step.terms]).sum(dim=0)


@pytest.mark.parametrize(
    ("term", "weight"),
    [("style", 300), ("divergence", 3000), ("l2", 10), ("range", 10), ("zecon", 5), ("vgg", 0.3), ("mse", 10)],
)
def test_a_guided_run_lowers_the_term_that_guides_it(
    model: DiffusionModel, scene: Scene, term: Term, weight: float
) -> None:
    assert (summed(model, scene, term, weight) < summed(model, scene, term, 1e-12)).all()


def test_features_of_the_evaluation_itself_guide_as_well(model: DiffusionModel, scene: Scene) -> None:
    def contrast(weight: float) -> Tensor:
        told: list[StyleStep] = []
        spec = spec_of(**(NO_PULL | {"zecon_weight": weight, "zecon_features": "x_t"}))
        restyled(scene.batch(model, spec), told.append)
        return torch.stack([step.terms["zecon"] for step in told]).sum(dim=0)

    assert (contrast(5.0) < contrast(1e-12)).all()


def terms_by_step(model: DiffusionModel, scene: Scene, spec: StylingSpec) -> list[set[Term]]:
    told: list[StyleStep] = []
    restyled(scene.batch(model, spec), told.append)
    return [set(step.terms) for step in told]


def test_semantic_divergence_pulls_only_above_its_index(paper: DiffusionModel, scene: Scene) -> None:
    steps = terms_by_step(paper, scene, spec_of(divergence_until=3))  # indices 5, 4, 3, 2, 1, 0
    assert ["divergence" in terms for terms in steps] == [True, True, False, False, False, False]


def test_gates_are_off_by_default_and_count_in_times_of_the_original_chain(paper: DiffusionModel, scene: Scene) -> None:
    assert all({"vgg", "mse"} <= terms for terms in terms_by_step(paper, scene, spec_of()))
    gated = terms_by_step(paper, scene, spec_of(vgg_below_t=300, mse_below_t=500))  # t = 555, 444, 333, 222, 111, 0
    assert ["vgg" in terms for terms in gated] == [False, False, False, True, True, True]
    assert ["mse" in terms for terms in gated] == [False, True, True, True, True, True]


def test_a_term_of_weight_zero_is_not_even_computed(paper: DiffusionModel, scene: Scene) -> None:
    assert terms_by_step(paper, scene, spec_of(**NO_PULL)) == [set()] * 6


def test_without_noise_augmentation_the_prediction_itself_is_compared(paper: DiffusionModel, scene: Scene) -> None:
    told: list[StyleStep] = []
    spec = spec_of(**(NO_PULL | {"l2_weight": 1e-12, "l2_region": "all", "noise_augmented": False}))
    x0 = restyled(scene.batch(paper, spec.with_overrides({"clip_denoised": False})), told.append)
    plain = (x0[:, :3] - signed(scene.targets)).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(told[-1].terms["l2"], plain, rtol=1e-4, atol=1e-5)


def test_an_inversion_leads_back_to_the_content_and_needs_no_seed(model: DiffusionModel, scene: Scene) -> None:
    """The finer the steps, the closer (Song et al. 2021): the sampler walks back what the inversion walked up."""

    def distance(steps: int) -> float:
        spec = StylingSpec(respaced_steps=steps, skipped_steps=steps // 2)
        batch, levels = scene.batch(model, spec), levels_of(model, steps)
        with torch.no_grad():
            x = inverted(batch, levels, lambda: None)
            for level in reversed(range(1, spec.guided_steps)):
                x0, _ = evaluate(model, x, batch.seen(x), levels, level)
                bars = levels.alpha_bar(level), levels.alpha_bar(level - 1)
                x = ddim_step(x, x0, *bars, torch.zeros_like(x), 0.0)
        return (batch.with_known(x) - batch.content).abs().mean().item()

    assert distance(80) < 0.5 * distance(10)
    assert distance(80) < 0.1


def test_an_aware_model_leaves_all_but_the_region_exactly_as_it_was(aware: DiffusionModel, scene: Scene) -> None:
    styled, content = restyled(scene.batch(aware, spec_of())), signed(scene.contents)
    kept = ~scene.regions
    assert torch.equal(styled.movedim(1, -1)[kept], content.movedim(1, -1)[kept])
    assert (styled.movedim(1, -1)[~kept] != content.movedim(1, -1)[~kept]).float().mean() > 0.9


def test_an_unconditional_model_draws_the_whole_picture_or_a_region_as_asked(
    paper: DiffusionModel, scene: Scene
) -> None:
    content, kept = signed(scene.contents).movedim(1, -1), ~scene.regions
    whole = restyled(scene.batch(paper, spec_of())).movedim(1, -1)
    inside = restyled(scene.batch(paper, spec_of(extent="region"))).movedim(1, -1)
    assert (whole[kept] != content[kept]).float().mean() > 0.9
    assert torch.equal(inside[kept], content[kept])
    assert (inside[~kept] != content[~kept]).float().mean() > 0.9


def test_weights_that_run_away_are_told_and_end_no_picture(paper: DiffusionModel, scene: Scene) -> None:
    with pytest.raises(StylingDiverged, match="bounds"):
        restyled(scene.batch(paper, spec_of(l2_weight=1e6)))


def test_a_cancelled_styling_ends_at_the_next_step(paper: DiffusionModel, scene: Scene) -> None:
    class CancelledError(Exception):
        pass

    told: list[int] = []

    def cancel_at_two(step: StyleStep) -> None:
        told.append(step.evaluations_done)
        if step.evaluations_done == 2:
            raise CancelledError

    on_step: OnStep = cancel_at_two
    with pytest.raises(CancelledError):
        restyled(scene.batch(paper, spec_of()), on_step)
    assert told == [1, 2]
