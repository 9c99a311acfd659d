"""Pairs per hour: Langevin with 20 evaluations, the cheapest that was not worse than RePaint, against RePaint with 960.

On the same network. Both run to their end, nothing is extrapolated; what they draw is compared in docs/measurements.md.
"""

import torch

from benchmarks._devices import random_model
from benchmarks._pairing import paired_seconds
from benchmarks.training import THREADS, drawn_pairs
from segsmith_shared.plans.cost import evaluations_per_sample
from segsmith_shared.plans.presets import UNAWARE_TRAINING, Preset, preset_named
from segsmith_worker.inpainting.redraw import redraw

SOURCES = 2
UNCONDITIONAL = {
    "training": UNAWARE_TRAINING,
    "diffusion": {"schedule": "linear", "prediction": "epsilon", "learned_range": True, "log_snr_shift": 0.0},
    "sampling": {
        "sampler": "repaint",
        "respaced_steps": 200,
        "jump_length": 10,
        "jump_visits": 5,
        "order": 1,
        "label_core": 0.0,
    },
}
"""The paper's way, for any network."""


def measure() -> dict[str, float | str]:
    """For `small-64-langevin` on a CPU, two sources at once, on two threads."""
    torch.set_num_threads(THREADS)
    return measured(preset_named("small-64-langevin"), SOURCES, rounds=1)


def measured(
    ours: Preset, sources: int, rounds: int, device: str = "cpu", paper: Preset | None = None
) -> dict[str, float | str]:
    """Both samplers on `sources` at once, in turn, `rounds` times after one that does not count."""
    paper = paper or ours.with_overrides(UNCONDITIONAL)
    pairs = drawn_pairs(ours.network.side_px)[:sources]
    work = []
    for preset in (ours, paper):
        model, spec = random_model(preset, device), preset.sampling.model_copy(update={"batch": sources})
        work.append(lambda model=model, spec=spec: redraw(model, pairs, list(range(sources)), spec))
    quick, slow = paired_seconds(work[0], work[1], rounds)
    evaluations = [evaluations_per_sample(preset.sampling) for preset in (ours, paper)]
    return {
        "baseline": f"RePaint, {evaluations[1]} evaluations, {sources} sources at once",
        "network": f"{ours.network.side_px} px, {ours.network.base_channels} channels",
        "evaluations": evaluations[0],
        "pairs_per_hour": 3600 * sources / quick,
        "baseline_pairs_per_hour": 3600 * sources / slow,
        "pairs_per_hour_ratio": slow / quick,
    }
