"""Redrawing eight sources at once against one by one, with the same model, sampler and evaluations."""

import torch

from benchmarks._pairing import paired_seconds
from benchmarks.training import THREADS, drawn_pairs
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.training import TrainingState
from segsmith_worker.inpainting.redraw import redraw

SOURCES = 8
ROUNDS = 3


def measure() -> dict[str, float | str]:
    """Ratios for `small-64` (known background, 20 evaluations) and for the same network under a short RePaint."""
    torch.set_num_threads(THREADS)
    aware = preset_named("small-64")
    paper = aware.with_overrides(
        {
            "training": {"inpainting_aware": False},
            "diffusion": {"schedule": "linear", "prediction": "epsilon", "learned_range": True, "log_snr_shift": 0.0},
            "sampling": {"sampler": "repaint", "respaced_steps": 20, "jump_length": 5, "jump_visits": 2},
        }
    )
    figures: dict[str, float | str] = {"baseline": "the same sampler on one source at a time"}
    for name, preset in (("known_background", aware), ("repaint", paper)):
        together, one_by_one = _seconds(preset)
        figures |= {
            f"{name}_batched_seconds": together,
            f"{name}_one_by_one_seconds": one_by_one,
            f"{name}_batch_of_8_ratio": one_by_one / together,
        }
    return figures


def _seconds(preset: Preset) -> tuple[float, float]:
    tensors = TrainingState.start(preset, seed=0).to_tensors()
    model = DiffusionModel.from_tensors(preset, tensors)
    sources, seeds = drawn_pairs(preset.network.side_px)[:SOURCES], list(range(SOURCES))
    batched = preset.sampling.model_copy(update={"batch": SOURCES})
    single = preset.sampling.model_copy(update={"batch": 1})
    return paired_seconds(
        lambda: redraw(model, sources, seeds, batched), lambda: redraw(model, sources, seeds, single), ROUNDS
    )
