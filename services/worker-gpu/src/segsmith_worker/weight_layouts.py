"""What each pretrained file must hold: the names and shapes of the network that will read it, built without values."""

from collections.abc import Callable, Mapping

import timm
import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torchvision import models as torchvision_models

from segsmith_shared.plans.weights import FID_INCEPTION, GUIDED_DIFFUSION, WeightsCorrupt
from segsmith_shared.vision import inception
from segsmith_worker.diffusion.import_guided import CheckpointDoesNotFit, preset_for, widened

Shapes = Mapping[str, tuple[int, ...]]

_COUNTERS = ("num_batches_tracked",)
"""Batch norms count batches only since torch 0.4.1; older files lack it, and no evaluation reads it."""


def _vgg19() -> nn.Module:
    network = nn.Module()
    network.features = torchvision_models.vgg19().features
    return network


def _resnet(depth: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        network: nn.Module = getattr(torchvision_models, f"resnet{depth}")()
        network.fc = nn.Identity()
        return network

    return build


def _dino(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
        return network

    return build


def _se_resnext50() -> nn.Module:
    network: nn.Module = get_encoder("se_resnext50_32x4d", weights=None)
    return network


_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    FID_INCEPTION: inception.empty_network,
    "dino-vit-s8": _dino("vit_small_patch8_224.dino"),
    "dino-vit-b8": _dino("vit_base_patch8_224.dino"),
    "vgg19": _vgg19,
    "se-resnext50-imagenet": _se_resnext50,
    "resnet18-imagenet": _resnet(18),
    "resnet34-imagenet": _resnet(34),
    "resnet50-imagenet": _resnet(50),
}


def check_layout(name: str, shapes: Shapes) -> None:
    """Raises WeightsCorrupt naming the first tensors that the pretrained file `name` should, or should not, hold."""
    differences = _guided_differences(shapes) if name == GUIDED_DIFFUSION else _differences(name, shapes)
    if differences:
        raise WeightsCorrupt(
            f"These are not the tensors of {name}: {'; '.join(differences[:3])}"
            + (f" and {len(differences) - 3} more." if len(differences) > 3 else "."),
            hint="Look whether this is the published file; with --name you say which one it is.",
        )


def _differences(name: str, shapes: Shapes) -> list[str]:
    with torch.device("meta"):
        wanted = {key: tuple(tensor.shape) for key, tensor in _NETWORKS[name]().state_dict().items()}
    return [
        f"{key} is {_told(shapes.get(key))}, not {_told(wanted.get(key))}"
        for key in sorted(wanted.keys() | shapes.keys())
        if wanted.get(key) != shapes.get(key) and not (key not in shapes and key.endswith(_COUNTERS))
    ]


def _guided_differences(shapes: Shapes) -> list[str]:
    try:
        preset_for(widened(without_values(shapes)))
    except CheckpointDoesNotFit as misfit:
        return [misfit.detail.rstrip(".")]
    return []


def without_values(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors of these shapes that take no memory."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def _told(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else "×".join(map(str, shape)) or "a number"
