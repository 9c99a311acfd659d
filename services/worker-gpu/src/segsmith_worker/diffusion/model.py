"""A trained network together with what it was trained on: what every sampler takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, cast

import torch
from torch import Tensor

from segsmith_shared.plans.presets import Preset
from segsmith_worker.diffusion.unet import UNet

CLUSTER_TABLE = "label_emb.weight"


@dataclass(frozen=True)
class DiffusionModel:
    """A network in evaluation mode and the preset it was trained with; `weights` says whether raw or averaged.

    `told` (B,) are the clusters of the pictures to come, for a network that is told them (`told_clusters`); `guidance`
    weighs what that changes: 0 ignores it, 1 is what was learned, more exaggerates it at twice the cost. `bfloat16` is
    what the network computes in (`computing_in`); what it is given and what it answers are float32.
    """

    network: UNet
    preset: Preset
    weights: str
    told: Tensor | None = None
    guidance: float = 1.0
    bfloat16: bool = False

    @classmethod
    def from_tensors(cls, preset: Preset, tensors: Mapping[str, Tensor], device: str = "cpu") -> Self:
        """From the `average.*` tensors of a training state, or from bare weights under guided-diffusion's names.

        Loads strictly: RuntimeError where a parameter is missing, left over, or of another shape.
        """
        averaged = {k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")}
        aware, learned = preset.training.inpainting_aware, preset.diffusion.learned_range
        tensors = averaged or tensors
        with torch.device("meta"):
            network = UNet(preset.network, region_channel=aware, learned_range=learned, clusters=clusters_told(tensors))
        network = network.to_empty(device=device).to(memory_format=torch.channels_last)
        network.load_state_dict(tensors)
        network.requires_grad_(requires_grad=False).eval()
        return cls(network, preset, weights="average" if averaged else "raw")

    def told_clusters(self, clusters: Sequence[int], guidance: float) -> Self:
        """The same network, told the cluster of each picture of the batches to come. ValueError if it cannot be."""
        if not self.network.clusters:
            raise ValueError("this network was trained without clusters")
        told = torch.tensor(clusters, dtype=torch.long, device=self.device)
        return replace(self, told=told, guidance=guidance)

    def computing_in(self, precision: str) -> Self:
        """The same network, computing in `float32`, `bfloat16`, or `auto`: bfloat16 on CUDA alone."""
        automatic = precision == "auto" and self.device.type == "cuda"
        return replace(self, bfloat16=automatic or precision == "bfloat16")

    def predict(self, network_input: Tensor, times: Tensor) -> Tensor:
        """One evaluation (B, C or 2C, H, W); two where guidance asks for it (Ho and Salimans 2022, eq. 6, with w + 1).

        The range output, if there is one, is the conditional one: guidance is about means.
        """
        if self.told is None:
            return self._evaluated(network_input, times)
        if self.guidance == 1:
            return self._evaluated(network_input, times, self.told)
        anybody = torch.full_like(self.told, self.network.clusters)
        both = self._evaluated(network_input.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([self.told, anybody]))
        told, untold = both.chunk(2)
        means = self.pair_channels
        mean = untold[:, :means] + self.guidance * (told - untold)[:, :means]
        return torch.cat([mean, told[:, means:]], dim=1)

    def _evaluated(self, *arguments: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            answer = self.network(*arguments)
        return cast("Tensor", answer.float())

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def pair_channels(self) -> int:
        """Red, green, blue, and one for each class that labels tell apart."""
        return self.preset.network.pair_channels

    @property
    def side_px(self) -> int:
        return self.preset.network.side_px


def clusters_told(tensors: Mapping[str, Tensor]) -> int:
    """How many clusters a network with these weights can be told; 0 for one that was trained without."""
    return len(tensors[CLUSTER_TABLE]) - 1 if CLUSTER_TABLE in tensors else 0
