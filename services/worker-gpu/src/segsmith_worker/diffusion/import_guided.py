"""The authors' checkpoints: guided-diffusion weights, recognised by their names and shapes and loaded strictly."""

from collections.abc import Mapping

import torch
from torch import Tensor

from segsmith_shared.plans.presets import PRESETS, Preset
from segsmith_shared.problems import InvalidInput
from segsmith_worker.diffusion.model import DiffusionModel
from segsmith_worker.diffusion.unet import UNet


class CheckpointDoesNotFit(InvalidInput):
    """The weights belong to no network that we know how to build."""

    title = "The checkpoint fits no preset"


def preset_for(weights: Mapping[str, Tensor], candidates: Mapping[str, Preset] = PRESETS) -> Preset:
    """The preset whose network has exactly these parameters, by name and shape. Raises `CheckpointDoesNotFit`.

    Attention at 16 only (2024) or at 16 and 8 (2023) is told by the names.
    """
    faults = {name: _difference(weights, preset) for name, preset in candidates.items()}
    for name, fault in faults.items():
        if not fault:
            return candidates[name]
    nearest = min(faults, key=lambda name: len(faults[name]))
    raise CheckpointDoesNotFit(
        f"Nearest is {nearest}, but {len(faults[nearest])} parameters differ, e.g. {faults[nearest][0]}.",
        hint="Give a guided-diffusion checkpoint of a four-channel 256 px model, or override the preset's network.",
    )


def import_guided(weights: Mapping[str, Tensor], device: str = "cpu") -> DiffusionModel:
    """A model from an authors' checkpoint, already read to tensors (`weights_only`, in a process of its own)."""
    return DiffusionModel.from_tensors(preset_for(weights), weights, device)


def _difference(weights: Mapping[str, Tensor], preset: Preset) -> list[str]:
    with torch.device("meta"):
        network = UNet(
            preset.network,
            region_channel=preset.training.inpainting_aware,
            learned_range=preset.diffusion.learned_range,
        )
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    given = {name: value.shape for name, value in weights.items()}
    names = sorted(wanted.keys() | given.keys())
    return [
        f"{name} ({_shape(given.get(name))} instead of {_shape(wanted.get(name))})"
        for name in names
        if wanted.get(name) != given.get(name)
    ]


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else "×".join(map(str, shape))
