"""Redrawing eight sources at once against the published procedure, with the same weights, sampler and evaluations.

Baseline: the same network run as the authors run it, in float32, contiguous, one source after the other. What batching
alone brings, on our own network, is shown beside it.
"""

from collections.abc import Callable
from statistics import median

import torch

from benchmarks._devices import random_model
from benchmarks._pairing import paired_rounds
from benchmarks.pairs_per_hour import UNCONDITIONAL
from benchmarks.training import THREADS, contiguous, drawn_pairs
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.inpainting.redraw import redraw

SOURCES = 8
ROUNDS = 9


def measure() -> dict[str, float | str]:
    """Ratios for `small-64` (known background, 20 evaluations) and for the same network under a short RePaint."""
    torch.set_num_threads(THREADS)
    aware = preset_named("small-64")
    short = {"respaced_steps": 20, "jump_length": 5, "jump_visits": 2}
    paper = aware.with_overrides(UNCONDITIONAL).with_overrides({"sampling": short})
    figures: dict[str, float | str] = {"baseline": "the same sampler and weights, float32, contiguous, one by one"}
    for name, preset in (("known_background", aware), ("repaint", paper)):
        ours, theirs = random_model(preset, "cpu"), _as_the_authors(random_model(preset, "cpu"))
        measured = paired_rounds(_redrawing(ours, preset, SOURCES), _redrawing(theirs, preset, 1), ROUNDS)
        unbatched = paired_rounds(_redrawing(ours, preset, SOURCES), _redrawing(ours, preset, 1), ROUNDS)
        figures |= {
            f"{name}_seconds": median(measured.first),
            f"{name}_baseline_seconds": median(measured.second),
            f"{name}_ratio": measured.ratio,
            f"{name}_ratio_range": measured.ratio_range,
            f"{name}_of_which_batching": unbatched.ratio,
        }
    return figures


def _as_the_authors(model: DiffusionModel) -> DiffusionModel:
    contiguous(model.network)
    return model


def _redrawing(model: DiffusionModel, preset: Preset, at_once: int) -> Callable[[], object]:
    sources = drawn_pairs(preset.network.side_px)[:SOURCES]
    spec = preset.sampling.model_copy(update={"batch": at_once})
    return lambda: redraw(model, sources, list(range(SOURCES)), spec)
