"""FID-Inception of 2015 as eager torch: no foreign TorchScript runs, and clustering and FID share one network."""

from collections.abc import Mapping

import torch
from pytorch_fid import inception as fid_blocks
from torch import Tensor, nn
from torchvision.models import Inception3

_CLASSES = 1008

# Where the 2015 graph differs from torchvision's Inception v3: poolings that leave the padding out, one of maxima.
_BLOCKS: dict[str, tuple[type[nn.Module], dict[str, int]]] = {
    "Mixed_5b": (fid_blocks.FIDInceptionA, {"in_channels": 192, "pool_features": 32}),
    "Mixed_5c": (fid_blocks.FIDInceptionA, {"in_channels": 256, "pool_features": 64}),
    "Mixed_5d": (fid_blocks.FIDInceptionA, {"in_channels": 288, "pool_features": 64}),
    "Mixed_6b": (fid_blocks.FIDInceptionC, {"in_channels": 768, "channels_7x7": 128}),
    "Mixed_6c": (fid_blocks.FIDInceptionC, {"in_channels": 768, "channels_7x7": 160}),
    "Mixed_6d": (fid_blocks.FIDInceptionC, {"in_channels": 768, "channels_7x7": 160}),
    "Mixed_6e": (fid_blocks.FIDInceptionC, {"in_channels": 768, "channels_7x7": 192}),
    "Mixed_7b": (fid_blocks.FIDInceptionE_1, {"in_channels": 1280}),
    "Mixed_7c": (fid_blocks.FIDInceptionE_2, {"in_channels": 2048}),
}


def empty_network() -> nn.Module:
    """The network without values (meta device), with the parameter names of the published file, classifier included."""
    with torch.device("meta"):
        network: nn.Module = Inception3(num_classes=_CLASSES, aux_logits=False, init_weights=False)
        for name, (block, arguments) in _BLOCKS.items():
            setattr(network, name, block(**arguments))
    return network


def feature_network(tensors: Mapping[str, Tensor]) -> nn.Module:
    """Images float (n, 3, 299, 299) in clean-fid's range, (x − 128)/128 → pool3 features (n, 2048).

    Raises RuntimeError naming the missing or unexpected tensors when they are not those of the published file.
    """
    network = empty_network()
    network.load_state_dict(dict(tensors), assign=True)
    network.fc = nn.Identity()
    return network.eval().requires_grad_(False)
