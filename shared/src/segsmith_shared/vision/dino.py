"""DINO's vision transformers (Caron et al. 2021) as towers of style: the last block's [CLS] token."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from segsmith_shared.plans.weights import WeightsCorrupt
from segsmith_shared.vision.towers import resized, standardised

DinoName = Literal["dino-vit-s8", "dino-vit-b8"]
_TIMM_NAMES: dict[DinoName, str] = {
    "dino-vit-s8": "vit_small_patch8_224.dino",
    "dino-vit-b8": "vit_base_patch8_224.dino",
}
NATIVE_SIDE_PX = 224
PATCH_PX = 8


class DinoTower:
    """Pictures → [CLS] after the last block, before the final norm, of a frozen ViT with 8-px patches."""

    stand_in = False

    def __init__(self, name: str, digest: str, network: nn.Module, side_px: int) -> None:
        self.name = name
        self.digest = digest
        self.side_px = side_px
        self._network = network

    def vectors(self, pictures: Tensor) -> Tensor:
        """RGB (B, 3, H, W), 0..1 → (B, 384) of the small one, (B, 768) of the base one."""
        tokens: Tensor = self._network(standardised(resized(pictures, self.side_px)))
        return tokens[:, 0]


def dino_tower(
    name: DinoName,
    tensors: Mapping[str, Tensor],
    *,
    digest: str,
    side_px: int = NATIVE_SIDE_PX,
    device: torch.device | str = "cpu",
) -> DinoTower:
    """The tower from the tensors of a verified file of timm's; `side_px` is what pictures are resized to.

    Sides other than 224 resample the position embedding. Raises WeightsCorrupt where the tensors are not the network's,
    ValueError for a side that is no multiple of 8.
    """
    if side_px % PATCH_PX:
        raise ValueError(f"side_px must be a multiple of {PATCH_PX}, not {side_px}")
    network = empty_network(name)
    try:
        network.load_state_dict(dict(tensors), assign=True)
    except RuntimeError as error:
        raise WeightsCorrupt(f"The weights are not {name}: {error}", hint="Fetch the published file again.") from error
    return DinoTower(name, digest, _Tokens(network.eval().requires_grad_(requires_grad=False)).to(device), side_px)


def empty_network(name: DinoName) -> nn.Module:
    """The network without values (meta device), with the parameter names of the published file."""
    import timm  # the worker's alone: other services read pictures without it

    with torch.device("meta"):
        network: nn.Module = timm.create_model(_TIMM_NAMES[name], pretrained=False, dynamic_img_size=True)
    return network


class _Tokens(nn.Module):
    """All tokens (B, 1 + patches, d) as the last block leaves them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        network.norm = nn.Identity()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        tokens: Tensor = self.network.forward_features(pictures)  # type: ignore[operator]  # timm is untyped
        return tokens
