"""VGG-19 (Simonyan and Zisserman 2015) as a tower of texture: relu1_1 and relu2_1, nothing deeper."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segsmith_shared.plans.weights import WeightsCorrupt
from segsmith_shared.vision.towers import standardised

NAME = "vgg19-relu1-relu2"
_PREFIX = "features."
_RELU1_1, _RELU2_1 = 1, 6


class VggTower:
    """Pictures → relu1_1 and relu2_1 of a frozen VGG-19."""

    name = NAME
    stand_in = False

    def __init__(self, digest: str, layers: nn.Sequential) -> None:
        self.digest = digest
        self._layers = layers

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """RGB (B, 3, H, W), 0..1 → (B, 64, H, W) and (B, 128, H/2, W/2)."""
        fine: Tensor = self._layers[: _RELU1_1 + 1](standardised(pictures))
        coarse: Tensor = self._layers[_RELU1_1 + 1 :](fine)
        return [fine, coarse]


def vgg_tower(tensors: Mapping[str, Tensor], *, digest: str, device: torch.device | str = "cpu") -> VggTower:
    """The tower from the tensors of a verified file of torchvision's VGG-19, whole or its features alone.

    Names are torchvision's (`features.0.weight`) or those of its `features` part (`0.weight`). Raises WeightsCorrupt
    where a layer up to relu2_1 is missing or has another shape; deeper layers are not read.
    """
    layers = empty_layers()
    named = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    wanted = {name: named[name] for name in layers.state_dict() if name in named}
    try:
        layers.load_state_dict(wanted, assign=True)
    except RuntimeError as error:
        raise WeightsCorrupt(f"The weights are not VGG-19: {error}", hint="Fetch the published file again.") from error
    return VggTower(digest, layers.eval().requires_grad_(requires_grad=False).to(device))


def empty_layers() -> nn.Sequential:
    """The layers up to relu2_1 without values (meta device), numbered as in torchvision's `features`."""
    from torchvision.models import vgg  # seconds that jobs without styling spare

    with torch.device("meta"):
        layers: nn.Sequential = vgg.make_layers([64, 64, "M", 128], batch_norm=False)
    return layers[: _RELU2_1 + 1]
