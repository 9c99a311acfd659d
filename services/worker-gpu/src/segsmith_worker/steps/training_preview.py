"""Sheets of samples while a model trains, so that a person can stop what goes wrong."""

import math

from torch import Tensor

from segsmith_shared.jobs.context import StepContext
from segsmith_shared.plans.presets import Preset
from segsmith_shared.randomness import seed_for
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.training import TrainingState
from segsmith_worker.inpainting.redraw import redraw
from segsmith_worker.steps.sample_sheet import sample_sheet

PREVIEWS = 4
SOURCES = 4
QUICK = {
    "sampling.evaluations": 12,
    "sampling.respaced_steps": 25,
    "sampling.jump_visits": 1,
    "sampling.batch": SOURCES,
}


class Previews:
    """Redraws the first few sources, with few evaluations, as each quarter of the training ends."""

    def __init__(self, context: StepContext, preset: Preset, squares: Tensor, seed: int) -> None:
        self._context = context
        # whose label is exchanged for which is not settled before the sets are drawn
        own = {"sampling.label": "own"} if preset.sampling.label == "exchanged" else {}
        self._preset = preset.with_overrides(QUICK | own)
        self._sources = squares[:SOURCES]
        self._seeds = [seed_for(seed, "preview", index) for index in range(len(self._sources))]
        self._quarter: int | None = None

    def show_when_due(self, state: TrainingState, images_seen: int) -> None:
        """One sheet as each quarter ends, but none for a quarter that was already over when the slice began."""
        quarter = math.floor(images_seen * PREVIEWS / self._preset.training.images_total)
        if self._quarter is not None and quarter > self._quarter:
            model = DiffusionModel(state.average, self._preset, weights="average")
            result = redraw(model, self._sources, self._seeds, self._preset.sampling)
            picture = sample_sheet(self._sources, result)
            self._context.preview(f"preview-{images_seen}.png", picture, "image/png")
        self._quarter = quarter
