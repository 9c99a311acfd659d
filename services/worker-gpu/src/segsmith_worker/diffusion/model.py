"""A trained network together with what it was trained on: what every sampler takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from segsmith_shared.plans.presets import Preset
from segsmith_worker.diffusion.unet import UNet


@dataclass(frozen=True)
class DiffusionModel:
    """A network in evaluation mode and the preset it was trained with; `weights` says whether raw or averaged."""

    network: UNet
    preset: Preset
    weights: str

    @classmethod
    def from_tensors(cls, preset: Preset, tensors: Mapping[str, Tensor], device: str = "cpu") -> Self:
        """From the `average.*` tensors of a training state, or from bare weights under guided-diffusion's names.

        Loads strictly: RuntimeError where a parameter is missing, left over, or of another shape.
        """
        averaged = {k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")}
        aware, learned = preset.training.inpainting_aware, preset.diffusion.learned_range
        with torch.device("meta"):
            network = UNet(preset.network, region_channel=aware, learned_range=learned)
        network = network.to_empty(device=device).to(memory_format=torch.channels_last)
        network.load_state_dict(averaged or tensors)
        network.requires_grad_(requires_grad=False).eval()
        return cls(network, preset, weights="average" if averaged else "raw")

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def side_px(self) -> int:
        return self.preset.network.side_px
