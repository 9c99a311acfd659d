"""A training step and a forward pass against the same network run as the authors run it: image by image, contiguous.

Baseline: the same weights, fp32, micro-batches of one image, contiguous memory, AdamW parameter by parameter. The
authors' fp16 is for GPUs; their batch of 4 to 128 images is made of such micro-batches.
"""

import torch

from benchmarks._pairing import paired_seconds
from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_worker.diffusion.training import TrainingState, train
from segsmith_worker.diffusion.unet import UNet

BATCH = 16
ROUNDS = 5
THREADS = 2


def measure() -> dict[str, float | str]:
    """Ratios of baseline to ours for `small-64` at batch 16, on two threads."""
    torch.set_num_threads(THREADS)
    preset = preset_named("small-64").with_overrides({"training": {"batch": BATCH, "micro_batch": BATCH}})
    pairs = drawn_pairs(preset.network.side_px)
    ours, theirs = _state(preset), as_the_authors(_state(preset))
    their_preset = preset.with_overrides({"training": {"micro_batch": 1, "precision": "float32"}})
    step, their_step = paired_seconds(
        lambda: _steps(ours, pairs, preset), lambda: _steps(theirs, pairs, their_preset), ROUNDS
    )
    x = torch.zeros(BATCH, 5, preset.network.side_px, preset.network.side_px)
    forward, their_forward = paired_seconds(lambda: _forward(ours, x, BATCH), lambda: _forward(theirs, x, 1), ROUNDS)
    return {
        "baseline": "the same network, fp32, one image at a time, contiguous, AdamW parameter by parameter",
        "training_step_seconds": step,
        "training_step_baseline_seconds": their_step,
        "training_step_ratio": their_step / step,
        "training_images_per_second": BATCH / step,
        "forward_seconds": forward,
        "forward_baseline_seconds": their_forward,
        "forward_ratio": their_forward / forward,
    }


def drawn_pairs(side_px: int) -> torch.Tensor:
    """uint8 (32, 4, side, side)."""
    pairs = []
    for index in range(32):
        image, label = draw_pair(0, index, side_px)
        channels = [torch.from_numpy(image.copy()).permute(2, 0, 1), torch.from_numpy(label)[None] * 255]
        pairs.append(torch.cat([part.to(torch.uint8) for part in channels]))
    return torch.stack(pairs)


def _state(preset: Preset) -> TrainingState:
    return TrainingState.start(preset, seed=0)


def contiguous(network: UNet) -> None:
    """Lay its weights, and what passes through it, out as the authors do."""
    network.layout = torch.contiguous_format
    network.to(memory_format=torch.contiguous_format)


def as_the_authors(state: TrainingState) -> TrainingState:
    """The same state, to be stepped as the authors do."""
    for network in (state.network, state.average):
        contiguous(network)
    for group in state.optimiser.param_groups:
        group |= {"fused": False, "foreach": False}
    for moments in state.optimiser.state.values():
        moments["step"] = moments["step"].cpu()  # where this way of stepping keeps it: on CUDA reading it would wait
    return state


def _steps(state: TrainingState, pairs: torch.Tensor, preset: Preset) -> None:
    train(state, pairs, preset, seed=0, until_images_seen=state.images_seen + BATCH)


@torch.inference_mode()
def _forward(state: TrainingState, x: torch.Tensor, batch: int) -> None:
    for part in torch.split(x, batch):
        state.average(part, torch.zeros(len(part)))
