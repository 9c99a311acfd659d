"""What a network sees of the known pixels while a region is redrawn: them, clean, if it was trained so, or only x."""

from torch import Tensor

from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.sampling import Levels, evaluate
from segsmith_worker.diffusion.training import network_input


def predicted(model: DiffusionModel, x: Tensor, known: Tensor, region: Tensor, levels: Levels, level: int) -> Tensor:
    """x₀ (B, C, H, W), unclipped, by an inpainting-aware model or any other; one evaluation."""
    aware = model.preset.training.inpainting_aware
    x0, _ = evaluate(model, x, network_input(x, known, region if aware else None), levels, level)
    return x0
