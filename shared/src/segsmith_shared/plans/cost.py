"""What a run will cost, in U-Net evaluations and floating-point operations, before anything runs."""

from dataclasses import dataclass

from segsmith_shared.plans.jump_schedule import count_evaluations
from segsmith_shared.plans.presets import NetworkSpec, Preset

PAIR_CHANNELS = 4
BACKWARD_FACTOR = 3
"""A training step costs about three forward passes: one forward, two backward (weights and activations)."""


@dataclass(frozen=True)
class GenerationCost:
    """`flops` counts a multiply-add as two operations; the work around the network is not counted."""

    samples: int
    evaluations_per_sample: int
    evaluations: int
    flops: int


@dataclass(frozen=True)
class TrainingCost:
    """Of one model: images seen, forward passes and operations, forward and backward."""

    images: int
    forwards: int
    flops: int


def generation_cost(preset: Preset, samples: int) -> GenerationCost:
    """The cost of so many samples with the preset's own sampler (science §4.4, 4.12)."""
    sampling = preset.sampling
    if sampling.sampler == "repaint":
        each = count_evaluations(sampling.respaced_steps, sampling.jump_length, sampling.jump_visits)
    else:
        each = sampling.evaluations
    return GenerationCost(samples, each, each * samples, each * samples * forward_flops(preset))


def training_cost(preset: Preset) -> TrainingCost:
    """The cost of training one model to `images_total`."""
    images = preset.training.images_total
    return TrainingCost(images, images, BACKWARD_FACTOR * images * forward_flops(preset))


def forward_flops(preset: Preset) -> int:
    """Operations of one network evaluation of one image: convolutions, linear layers and attention."""
    spec = preset.network
    patch = spec.patch_px**2
    widths = [spec.base_channels * multiplier for multiplier in spec.channel_multipliers]
    inputs = (PAIR_CHANNELS + preset.training.inpainting_aware) * patch
    outputs = PAIR_CHANNELS * (2 if preset.diffusion.learned_range else 1) * patch
    multiply_adds = _convolution(inputs, widths[0], spec.level_side_px(0))
    multiply_adds += _convolution(widths[0], outputs, spec.level_side_px(0))
    multiply_adds += spec.base_channels * 4 * spec.base_channels * 5  # the time embedding's two linear layers
    multiply_adds += _down_path(spec, widths) + _middle(spec, widths[-1]) + _up_path(spec, widths)
    return 2 * multiply_adds


def _down_path(spec: NetworkSpec, widths: list[int]) -> int:
    total, channels = 0, widths[0]
    for level, width in enumerate(widths):
        side_px = spec.level_side_px(level)
        for _ in range(spec.residual_blocks):
            total += _block(spec, channels, width, side_px) + _attention(spec, width, side_px)
            channels = width
        if level + 1 < len(widths):
            total += _resampling(spec, width, side_px // 2)
    return total


def _middle(spec: NetworkSpec, width: int) -> int:
    side_px = spec.level_side_px(len(spec.channel_multipliers) - 1)
    return 2 * _block(spec, width, width, side_px) + _attending(width, side_px)


def _up_path(spec: NetworkSpec, widths: list[int]) -> int:
    skips = [widths[0]]
    for level, width in enumerate(widths):
        skips += [width] * (spec.residual_blocks + (level + 1 < len(widths)))
    total, channels = 0, skips[-1]
    for level in reversed(range(len(widths))):
        width, side_px = widths[level], spec.level_side_px(level)
        for _ in range(spec.residual_blocks + 1):
            total += _block(spec, channels + skips.pop(), width, side_px) + _attention(spec, width, side_px)
            channels = width
        if level:
            total += _resampling(spec, width, 2 * side_px)
    return total


def _convolution(inputs: int, outputs: int, side_px: int, kernel_px: int = 3) -> int:
    return inputs * outputs * kernel_px**2 * side_px**2


def _block(spec: NetworkSpec, inputs: int, outputs: int, side_px: int) -> int:
    skip = 0 if inputs == outputs else _convolution(inputs, outputs, side_px, 1)
    embedding = 4 * spec.base_channels * 2 * outputs
    return _convolution(inputs, outputs, side_px) + _convolution(outputs, outputs, side_px) + skip + embedding


def _attention(spec: NetworkSpec, width: int, side_px: int) -> int:
    return _attending(width, side_px) if side_px in spec.attention_sides_px else 0


def _attending(width: int, side_px: int) -> int:
    """q, k, v and the projection (4·C²) at each position, and every position with every other, twice."""
    positions = side_px**2
    return 4 * width**2 * positions + 2 * width * positions**2


def _resampling(spec: NetworkSpec, width: int, side_px: int) -> int:
    """At the side of the level it leads to; pooling and repeating cost nothing beside it."""
    if spec.resampling == "residual":
        return _block(spec, width, width, side_px)
    return _convolution(width, width, side_px) if spec.resampling == "convolution" else 0
