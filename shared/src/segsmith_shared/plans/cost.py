"""What a run will cost, known before it starts: U-Net evaluations, and their floating-point operations."""

from collections.abc import Iterator
from dataclasses import dataclass

from segsmith_shared.plans.budget import TrainingBudget
from segsmith_shared.plans.jump_schedule import count_evaluations
from segsmith_shared.plans.presets import NetworkSpec, Preset, SamplingSpec


@dataclass(frozen=True)
class GenerationCost:
    """U-Net evaluations of one picture each; a last batch that is filled up to its size costs its whole size.

    A step is one evaluation, or two where guidance compares with what the network draws untold. `evaluations` counts
    those at half the side like any other; `flops` knows that they cost about a quarter.
    """

    samples: int
    steps_per_sample: int
    evaluations_per_sample: int
    evaluations: int
    flops: int


@dataclass(frozen=True)
class TrainingCost:
    """Pictures seen, each costing a forward and a backward pass (three forwards' operations)."""

    images: int
    flops: int


def evaluations_per_sample(spec: SamplingSpec) -> int:
    """U-Net evaluations that one sample takes, without guidance."""
    coarse, fine = _coarse_and_fine(spec)
    return coarse + fine


def whole_evaluations_per_sample(preset: Preset) -> float:
    """The same cost in evaluations at full side: what one at half the side counts for is a matter of operations."""
    coarse, fine = _coarse_and_fine(preset.sampling)
    return fine + coarse * forward_flops(_at_half_side(preset)) / forward_flops(preset)


def _coarse_and_fine(spec: SamplingSpec) -> tuple[int, int]:
    """Evaluations at half the side, and at the full one."""
    if spec.sampler == "ancestral_known_clean":
        return 0, spec.evaluations
    if spec.sampler == "coarse_to_fine":
        return count_evaluations(spec.coarse_evaluations, spec.jump_length, spec.jump_visits), spec.evaluations
    if spec.sampler == "langevin":
        return 0, spec.respaced_steps * (1 + spec.langevin_steps)
    return 0, count_evaluations(spec.respaced_steps, spec.jump_length, spec.jump_visits)


def _at_half_side(preset: Preset) -> Preset:
    """The same network on pictures of half the side: it attends at the same levels."""
    sides = tuple(side_px // 2 for side_px in preset.network.attention_sides_px)
    network = preset.network.model_copy(update={"side_px": preset.network.side_px // 2, "attention_sides_px": sides})
    return preset.model_copy(update={"network": network})


def generation_cost(preset: Preset, samples: int) -> GenerationCost:
    """The cost of this many samples by one model."""
    steps = evaluations_per_sample(preset.sampling)
    each = steps if preset.sampling.guidance == 1 else 2 * steps
    filled = -(-samples // preset.sampling.batch) * preset.sampling.batch
    flops = round(filled * (each / steps) * whole_evaluations_per_sample(preset) * forward_flops(preset))
    return GenerationCost(samples, steps, each, filled * each, flops)


def training_cost(preset: Preset, budget: TrainingBudget | None = None) -> TrainingCost:
    """The cost of a recipe's trainings, or of one, to the end; every training ends with a whole batch."""
    budget = budget or TrainingBudget(1, preset.training.images_total)
    batch = preset.training.batch
    images = (-(-budget.images_each // batch) * budget.networks + -(-budget.images_shared // batch)) * batch
    return TrainingCost(images, 3 * images * forward_flops(preset))


def forward_flops(preset: Preset) -> int:
    """Floating-point operations, two per multiply-add, of one picture through all convolutions and attention."""
    spec = preset.network
    inputs = spec.pair_channels + preset.training.inpainting_aware
    outputs = spec.pair_channels * (2 if preset.diffusion.learned_range else 1)
    ends = 9 * spec.base_channels * spec.channel_multipliers[0] * (inputs + outputs)
    total = ends * spec.level_side_px(0) ** 2 + sum(_stage_operations(spec))
    return 2 * total


def _stage_operations(spec: NetworkSpec) -> Iterator[int]:
    """Multiply-adds of every stage between the first and the last convolution."""
    widths = [spec.base_channels * multiplier for multiplier in spec.channel_multipliers]
    deepest = len(widths) - 1
    skips, channels = [widths[0]], widths[0]
    for level, width in enumerate(widths):
        for _ in range(spec.residual_blocks):
            yield _residual(spec, level, channels, width) + _attention(spec, level)
            channels = width
            skips.append(width)
        if level < deepest:
            yield _resampling(spec, level + 1, width)
            skips.append(width)
    yield 2 * _residual(spec, deepest, channels, channels) + _attention(spec, deepest, always=True)
    for level in reversed(range(len(widths))):
        for _ in range(spec.residual_blocks + 1):
            yield _residual(spec, level, channels + skips.pop(), widths[level]) + _attention(spec, level)
            channels = widths[level]
        if level:
            yield _resampling(spec, level - 1, channels)


def _residual(spec: NetworkSpec, level: int, channels: int, width: int) -> int:
    pixels = spec.level_side_px(level) ** 2
    skip = channels * width if channels != width else 0
    embedding = 4 * spec.base_channels * 2 * width
    return (9 * (channels + width) * width + skip) * pixels + embedding


def _attention(spec: NetworkSpec, level: int, *, always: bool = False) -> int:
    if not always and spec.level_side_px(level) not in spec.attention_sides_px:
        return 0
    width, pixels = spec.base_channels * spec.channel_multipliers[level], spec.level_side_px(level) ** 2
    return 4 * width * width * pixels + 2 * width * pixels**2


def _resampling(spec: NetworkSpec, target_level: int, width: int) -> int:
    return _residual(spec, target_level, width, width) if spec.resampling == "residual" else 0
