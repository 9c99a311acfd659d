"""Pairs per hour: 20 evaluations beside a clean background against the paper's 960 of RePaint, on the same network.

Both run to their end, nothing is extrapolated; what they draw is not compared here (docs/measurements.md).
"""

import torch

from benchmarks._devices import random_model
from benchmarks._pairing import paired_seconds
from benchmarks.training import THREADS, drawn_pairs
from segsmith_shared.plans.cost import evaluations_per_sample
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_worker.inpainting.redraw import redraw

SOURCES = 2
UNCONDITIONAL = {
    "training": {"inpainting_aware": False},
    "diffusion": {"schedule": "linear", "prediction": "epsilon", "learned_range": True, "log_snr_shift": 0.0},
    "sampling": {"sampler": "repaint", "respaced_steps": 200, "jump_length": 10, "jump_visits": 5},
}
"""The paper's way, for any network."""


def measure() -> dict[str, float | str]:
    """For `small-64` on a CPU, two sources at once, on two threads."""
    torch.set_num_threads(THREADS)
    return measured(preset_named("small-64"), SOURCES, rounds=1)


def measured(
    aware: Preset, sources: int, rounds: int, device: str = "cpu", paper: Preset | None = None
) -> dict[str, float | str]:
    """Both samplers on `sources` at once, in turn, `rounds` times after one that does not count."""
    paper = paper or aware.with_overrides(UNCONDITIONAL)
    pairs = drawn_pairs(aware.network.side_px)[:sources]
    work = []
    for preset in (aware, paper):
        model, spec = random_model(preset, device), preset.sampling.model_copy(update={"batch": sources})
        work.append(lambda model=model, spec=spec: redraw(model, pairs, list(range(sources)), spec))
    ours, theirs = paired_seconds(work[0], work[1], rounds)
    evaluations = [evaluations_per_sample(preset.sampling) for preset in (aware, paper)]
    return {
        "baseline": f"RePaint, {evaluations[1]} evaluations, {sources} sources at once",
        "network": f"{aware.network.side_px} px, {aware.network.base_channels} channels",
        "evaluations": evaluations[0],
        "pairs_per_hour": 3600 * sources / ours,
        "baseline_pairs_per_hour": 3600 * sources / theirs,
        "pairs_per_hour_ratio": theirs / ours,
    }
