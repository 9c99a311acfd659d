"""Redrawing on one GPU: pairs per hour of each sampler, many sources at once against one by one as the authors do.

Every sampler runs to its end. Baseline: RePaint (200, 10, 5), 960 evaluations, one source at a time, in float32 and
under float16 autocast (the authors').
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from benchmarks._devices import named, random_model
from benchmarks._pairing import paired_seconds
from benchmarks.pairs_per_hour import UNCONDITIONAL
from benchmarks.training import drawn_pairs
from segsmith_shared.plans.cost import evaluations_per_sample
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_worker.inpainting.redraw import redraw

AWARE = {
    "training.inpainting_aware": True,
    "diffusion": {"schedule": "cosine", "prediction": "v", "learned_range": False},
    "sampling": {"sampler": "ancestral_known_clean", "evaluations": 20},
}
"""Beside a clean background, for any network."""


@dataclass(frozen=True)
class Sizes:
    """Which network, how many sources at once, and how often; `paper` overrides the paper's sampler in tests."""

    network: Preset
    sources: int
    rounds: int
    device: str
    paper: Mapping[str, object]


def full() -> Sizes:
    """The paper's network; about ten minutes."""
    return Sizes(preset_named("paper-256-2023"), sources=8, rounds=1, device="cuda", paper={})


def measure(sizes: Sizes | None = None) -> dict[str, float | str]:
    """Pairs per hour, and ratios to the baseline's."""
    sizes = sizes or full()
    half = torch.float16 if sizes.device != "cpu" else torch.bfloat16
    paper = sizes.network.with_overrides(UNCONDITIONAL).with_overrides(sizes.paper)
    aware = sizes.network.with_overrides(AWARE)
    single_float32 = _redrawing(paper, 1, sizes.device)
    rivals = {
        "repaint_one_by_one_float16": (_redrawing(paper, 1, sizes.device, half), paper, 1),
        "repaint_batched": (_redrawing(paper, sizes.sources, sizes.device), paper, sizes.sources),
        "known_background": (_redrawing(aware, sizes.sources, sizes.device), aware, sizes.sources),
        "known_background_bfloat16": (
            _redrawing(aware, sizes.sources, sizes.device, torch.bfloat16),
            aware,
            sizes.sources,
        ),
    }
    figures: dict[str, float | str] = {
        "device": named(sizes.device),
        "baseline": f"RePaint, {evaluations_per_sample(paper.sampling)} evaluations, one source at a time, float32",
    }
    for name, (work, preset, sources) in rivals.items():
        baseline, seconds = paired_seconds(single_float32, work, sizes.rounds)
        figures |= {
            "baseline_pairs_per_hour": 3600 / baseline,
            f"{name}_evaluations": evaluations_per_sample(preset.sampling),
            f"{name}_pairs_per_hour": 3600 * sources / seconds,
            f"{name}_ratio": baseline * sources / seconds,
        }
    return figures


def _redrawing(preset: Preset, sources: int, device: str, half: torch.dtype | None = None) -> Callable[[], object]:
    model = random_model(preset, device)
    pairs = drawn_pairs(preset.network.side_px)[:sources]
    spec = preset.sampling.model_copy(update={"batch": sources})

    def turn() -> object:
        with torch.autocast(model.device.type, half) if half else nullcontext():
            return redraw(model, pairs, list(range(sources)), spec)

    return turn
