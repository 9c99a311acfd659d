"""Labels of several classes: a channel for each in what networks see, and class maps, which name every pixel's class.

A class map is uint8 (B, H, W): 0 is background, 1 … F are the classes in the order of their channels, IGNORE is
unknown. In the channels of pairs a class is 255, all else 0, and unknown pixels are IGNORE_LEVEL in all of them.
"""

import torch
from torch import Tensor

from segsmith_shared.pairs.pair import IGNORE, IGNORE_LEVEL
from segsmith_shared.plans.presets import PICTURE_CHANNELS


def lesions_of(pairs: Tensor) -> Tensor:
    """Where pairs uint8 (B, 3 + F, H, W) show any class: bool (B, H, W)."""
    return (pairs[:, PICTURE_CHANNELS:] > IGNORE_LEVEL).any(dim=1)


def unknown_of(pairs: Tensor) -> Tensor:
    """Where the labels of pairs uint8 (B, 3 + F, H, W) are unknown: bool (B, H, W)."""
    return (pairs[:, PICTURE_CHANNELS:] == IGNORE_LEVEL).any(dim=1)


def class_maps_of(pairs: Tensor) -> Tensor:
    """The class maps of pairs uint8 (B, 3 + F, H, W)."""
    known = largest_class(pairs[:, PICTURE_CHANNELS:].float(), beyond=float(IGNORE_LEVEL))
    return known.masked_fill(unknown_of(pairs), IGNORE)


def shows_class(class_maps: Tensor) -> Tensor:
    """Where class maps show any class: bool of their shape."""
    return (class_maps > 0) & (class_maps != IGNORE)


def channels_of(class_maps: Tensor, classes: int) -> Tensor:
    """Class maps as what networks see, float32 (B, F, H, W): 1 on a class, −1 elsewhere, 0 where unknown."""
    planes = 2 * planes_of(class_maps, classes).float() - 1
    return planes.masked_fill((class_maps == IGNORE)[:, None], 0)


def planes_of(class_maps: Tensor, classes: int) -> Tensor:
    """Class maps as bool (B, F, H, W): a plane for each class."""
    return class_maps[:, None] == torch.arange(1, classes + 1, device=class_maps.device).reshape(-1, 1, 1)


def largest_class(channels: Tensor, beyond: Tensor | float = 0.0) -> Tensor:
    """Class maps from channels (B, F, H, W): where the largest lies beyond the background's value, its class.

    Of channels in −1..1, as networks draw them, 0 is half way.
    """
    value, channel = channels.max(dim=1)
    return torch.where(value > beyond, channel + 1, 0).to(torch.uint8)
