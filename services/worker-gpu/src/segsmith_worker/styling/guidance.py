"""The guided reverse process: each step goes where the network points, and down the slope of what styling minimises."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from segsmith_shared.plans.presets import PICTURE_CHANNELS
from segsmith_shared.plans.styling import StylingSpec, styling_cost
from segsmith_shared.problems import Problem
from segsmith_shared.vision.towers import StyleTower, TextureTower
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import (
    Levels,
    ancestral_step,
    as_chain,
    ddim_step,
    evaluate,
    levels_of,
    noise_like,
    read_output,
    step_log_variance,
    times_at,
)
from segsmith_worker.diffusion.schedule import epsilon_from_x0, q_sample
from segsmith_worker.diffusion.training import network_input
from segsmith_worker.precision import autocast
from segsmith_worker.styling.losses import (
    Term,
    contrast_positions,
    contrasted_stages,
    l2_distance,
    mean_squared_distance,
    patch_contrast,
    range_excess,
    semantic_divergence,
    texture_distance,
    weighted_sum,
    weights_of,
)

_OUT_OF_REACH = 1e3
"""Far beyond any picture with noise, whose values have a deviation of about 1."""


class StylingDiverged(Problem):
    """The weights pull harder than the steps are fine: each one overshoots the last."""

    status = 500
    title = "Styling diverged"


@dataclass(frozen=True)
class Towers:
    """The networks that pictures are compared with, on the diffusion model's device."""

    style: StyleTower
    texture: TextureTower


@dataclass(frozen=True)
class StyleStep:
    """Progress of one batch in U-Net evaluations, and the step's terms by name: unweighted, one value per sample.

    A term that is left out or gated is absent; the evaluations of an inversion have none.
    """

    evaluations_done: int
    evaluations_total: int
    terms: Mapping[Term, Tensor]


OnStep = Callable[[StyleStep], None]
"""Called after each evaluation; an exception it raises ends the styling, which leaves nothing half-made behind."""


@dataclass(frozen=True)
class StyleBatch:
    """What is styled after what: content (B, C, H, W) and target (B, 3, H, W) in −1..1, two regions (B, 1, H, W).

    `redraw_region` is where the sample was inpainted, `drawn` where it is drawn anew now, 1 inside. Outside `drawn` the
    content stays as it is, and is what an inpainting-aware network sees as its clean, known part.
    """

    model: DiffusionModel
    towers: Towers
    content: Tensor
    target: Tensor
    redraw_region: Tensor
    drawn: Tensor
    seeds: Sequence[int]
    spec: StylingSpec

    @property
    def aware(self) -> bool:
        return self.model.preset.training.inpainting_aware

    def noise(self, purpose: str, level: int) -> Tensor:
        return noise_like(self.model, self.seeds, f"style-{purpose}", level)

    def seen(self, x: Tensor) -> Tensor:
        """What the network is given of x (B, C, H, W)."""
        return network_input(x, self.content, self.drawn if self.aware else None)

    def fast(self) -> AbstractContextManager[object]:
        """What the networks run in; whatever they give is turned back to float32, so that terms lose nothing."""
        return autocast(self.content.device.type, self.spec)

    def style_vectors(self, pictures: Tensor) -> Tensor:
        """Of RGB (B, 3, H, W) in −1..1."""
        with self.fast():
            vectors = self.towers.style.vectors(_unit(pictures))
        return vectors.float()

    def texture_maps(self, pictures: Tensor) -> list[Tensor]:
        with self.fast():
            maps = self.towers.texture.maps(pictures)
        return [each.float() for each in maps]

    def with_known(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) where it is drawn anew, the content elsewhere."""
        return self.drawn * x + (1 - self.drawn) * self.content

    def mixed(self, x0: Tensor, x_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """√(1−ᾱ)·x₀ + (1−√(1−ᾱ))·x_t, or x₀ itself where the spec asks for no noise: pictures to compare."""
        if not self.spec.noise_augmented:
            return self.with_known(x0)
        share = (1 - alpha_bar).sqrt().to(x0)
        return self.with_known(share * x0 + (1 - share) * x_t)


@dataclass(frozen=True)
class _Compared:
    """One step's pictures: x₀ as predicted, x_in of it, and the content noised and mixed alike."""

    level: int
    original_t: float
    x0: Tensor
    x_in: Tensor
    content_in: Tensor
    features: list[Tensor]
    feature_references: list[Tensor]


def restyled(batch: StyleBatch, on_step: OnStep | None = None) -> Tensor:
    """The predicted x₀ (B, C, H, W) of the last guided step, unclipped unless the spec clips.

    μ ← μ − Σ·∇L at every step (Dhariwal and Nichol 2021, algorithm 1, as the authors' code does; the paper prints
    x − ∇L), the gradient taken with respect to x_t through the U-Net's one evaluation. Raises `StylingDiverged`.
    """
    spec, levels = batch.spec, levels_of(batch.model, batch.spec.respaced_steps)
    chain, weights = as_chain(levels), weights_of(spec, batch.model.side_px)
    report = _Reporter(styling_cost(spec, 1).forwards_per_sample, on_step)
    x = _start(batch, levels, lambda: report({}))
    target_vectors, previous = _fixed_vectors(batch)
    x0 = x
    for level in reversed(range(spec.guided_steps)):
        x = _blended(batch, x, levels, level).detach()
        with torch.enable_grad():
            x.requires_grad_()
            compared, range_output = _evaluated(batch, x, levels, level)
            terms, vectors = _terms(batch, compared, target_vectors, previous)
            pull = weighted_sum(terms, weights)
            gradient = torch.autograd.grad(pull, x)[0] if pull.requires_grad else torch.zeros_like(x)
        previous = previous if vectors is None else vectors.detach()
        x0 = compared.x0.detach().clamp(-1, 1) if spec.clip_denoised else compared.x0.detach()
        with torch.no_grad():
            range_output, noise = range_output.detach(), batch.noise("step", level)
            stepped = ancestral_step(x, x0, range_output, chain, level, noise)
            x = _within_reach(stepped - step_log_variance(range_output, chain, level).exp() * gradient)
        report({name: values.detach() for name, values in terms.items()})
    return x0


class _Reporter:
    """Counts evaluations and tells the caller of each."""

    def __init__(self, total: int, on_step: OnStep | None) -> None:
        self._done, self._total, self._on_step = 0, total, on_step

    def __call__(self, terms: Mapping[Term, Tensor]) -> None:
        self._done += 1
        if self._on_step is not None:
            self._on_step(StyleStep(self._done, self._total, terms))


def _start(batch: StyleBatch, levels: Levels, report: Callable[[], None]) -> Tensor:
    """The content at the noisiest guided level: with fresh noise, or led up there by the network."""
    top = batch.spec.start_index
    if batch.spec.start == "ddim_inversion":
        return inverted(batch, levels, report)
    return q_sample(batch.content, batch.noise("start", top), levels.alpha_bar(top))


@torch.no_grad()
def inverted(batch: StyleBatch, levels: Levels, report: Callable[[], None]) -> Tensor:
    """The content (B, C, H, W) at the noisiest guided level, by DDIM's steps upwards (Song et al. 2021, §4.3).

    The deterministic sampler leads from there back to the content; an evaluation for each level but the last.
    """
    x = batch.content
    for level in range(batch.spec.start_index):
        x0, _ = evaluate(batch.model, x, batch.seen(x), levels, level)
        x = ddim_step(x, x0, levels.alpha_bar(level), levels.alpha_bar(level + 1), torch.zeros_like(x), 0.0)
        report()
    return x


def _blended(batch: StyleBatch, x: Tensor, levels: Levels, level: int) -> Tensor:
    """x_t with the known part noised to the same level, where a network without a region input keeps one."""
    if batch.aware or batch.spec.extent != "region":
        return x
    noised = q_sample(batch.content, batch.noise("blend", level), levels.alpha_bar(level))
    return batch.drawn * x + (1 - batch.drawn) * noised


@torch.no_grad()
def _fixed_vectors(batch: StyleBatch) -> tuple[Tensor | None, Tensor | None]:
    """The style vectors of target and content, computed once; None where no term reads them."""
    target = batch.style_vectors(batch.target) if batch.spec.style_weight else None
    content = batch.style_vectors(batch.content[:, :PICTURE_CHANNELS]) if batch.spec.divergence_weight else None
    return target, content


def _evaluated(batch: StyleBatch, x: Tensor, levels: Levels, level: int) -> tuple[_Compared, Tensor]:
    """The step's one evaluation and everything compared, and the range output of the network."""
    alpha_bar, times = levels.alpha_bar(level), times_at(levels, level, x)
    with batch.fast():
        output, maps = batch.model.network.forward_with_encoder(batch.seen(x), times, batch.model.told)
    x0, range_output = read_output(batch.model, x, output.float(), levels, level)
    x0 = batch.with_known(x0)
    x_in = batch.mixed(x0, x, alpha_bar)
    with torch.no_grad():
        noised = q_sample(batch.content, batch.noise("content", level), alpha_bar)
        content_in = batch.mixed(batch.content, noised, alpha_bar)
        reference = content_in
        if batch.spec.zecon_features == "x_t":
            # under the very noise that is in x_t, or the two would differ by their noise most
            reference = q_sample(batch.content, epsilon_from_x0(x, x0, alpha_bar), alpha_bar)
    features, references = _features(batch, times, maps, x_in, reference)
    original_t = float(levels.model_times[level])
    return _Compared(level, original_t, x0, x_in, content_in, features, references), range_output


def _features(
    batch: StyleBatch, times: Tensor, maps: list[Tensor], x_in: Tensor, reference: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """The encoder's maps at the compared stages: of x_in, or those of the evaluation itself, and of the reference."""
    if not batch.spec.zecon_weight:
        return [], []
    encode = batch.model.network.encode
    if batch.spec.zecon_features == "x_in":
        with batch.fast():
            maps = encode(batch.seen(x_in), times, batch.model.told)
    with torch.no_grad(), batch.fast():
        references = encode(batch.seen(reference), times, batch.model.told)
    stages = contrasted_stages(batch.model.preset.network, batch.spec.zecon_stages)
    return [maps[stage].float() for stage in stages], [references[stage].float() for stage in stages]


def _terms(
    batch: StyleBatch, step: _Compared, target_vectors: Tensor | None, previous: Tensor | None
) -> tuple[dict[Term, Tensor], Tensor | None]:
    """The terms that count at this step, each (B,), and the style vectors of x_in where any of them needs those."""
    spec, terms, vectors = batch.spec, dict[Term, Tensor](), None
    pictures = step.x_in[:, :PICTURE_CHANNELS]
    diverges = bool(spec.divergence_weight) and step.level > spec.divergence_until
    if spec.style_weight or diverges:
        vectors = batch.style_vectors(pictures)
        if target_vectors is not None:
            terms["style"] = mean_squared_distance(vectors, target_vectors)
        if diverges and previous is not None:
            terms["divergence"] = semantic_divergence(vectors, previous)
    if spec.l2_weight:
        kept = 1 - batch.redraw_region if spec.l2_region == "kept" else None
        terms["l2"] = l2_distance(pictures, batch.target, kept)
    if spec.range_weight:
        terms["range"] = range_excess(step.x0)
    if step.features:
        positions = contrast_positions(batch.seeds, step.features, step.level, spec.zecon_positions)
        terms["zecon"] = patch_contrast(step.features, step.feature_references, positions, spec.zecon_temperature)
    if spec.vgg_weight and _below(step.original_t, spec.vgg_below_t):
        terms["vgg"] = _texture(batch, pictures, step.content_in[:, :PICTURE_CHANNELS])
    if spec.mse_weight and _below(step.original_t, spec.mse_below_t):
        terms["mse"] = mean_squared_distance(step.x_in, step.content_in)
    return terms, vectors


def _texture(batch: StyleBatch, pictures: Tensor, content: Tensor) -> Tensor:
    """The tower expects 0..1; the authors give it −1..1."""
    if batch.spec.vgg_input == "unit":
        pictures, content = _unit(pictures), _unit(content)
    with torch.no_grad():
        references = batch.texture_maps(content)
    return texture_distance(batch.texture_maps(pictures), references)


def _within_reach(x: Tensor) -> Tensor:
    """x itself. Raises `StylingDiverged` for values no network can have learned, which would end as clipped noise."""
    if not (x.abs() < _OUT_OF_REACH).all():
        raise StylingDiverged(
            "Guidance has driven the picture out of all bounds.",
            hint="Lower the weights, divergence_weight and style_weight first, or take more respaced_steps.",
        )
    return x


def _below(original_t: float, limit: int | None) -> bool:
    return limit is None or original_t < limit


def _unit(signed: Tensor) -> Tensor:
    """−1..1 → 0..1; what lies beyond stays beyond, so that its gradient does not vanish."""
    return (signed + 1) / 2
