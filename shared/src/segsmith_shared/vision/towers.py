"""What styling compares pictures with: a vector of style and maps of texture, both differentiable in the picture."""

from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segsmith_shared.randomness import numpy_generator_for

# ImageNet's channel means and deviations of pixels in 0…1, which both published networks were trained with.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class StyleTower(Protocol):
    """Pictures → one vector each. `digest` pins the weights; `stand_in`: results compare with no published figure."""

    name: str
    digest: str
    stand_in: bool

    def vectors(self, pictures: Tensor) -> Tensor:
        """RGB float (B, 3, H, W), 0..1 for black to white → (B, d), with gradients to the pictures."""
        ...


class TextureTower(Protocol):
    """Pictures → feature maps, finest first. `digest` and `stand_in` as in `StyleTower`."""

    name: str
    digest: str
    stand_in: bool

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """RGB float (B, 3, H, W), 0..1 for black to white → maps (B, C, h, w), with gradients to the pictures."""
        ...


def describe_tower(tower: StyleTower | TextureTower) -> dict[str, Any]:
    """What a result computed with this tower has to say about it, as JSON values."""
    return {"name": tower.name, "digest": tower.digest, "stand_in": tower.stand_in}


def standardised(pictures: Tensor) -> Tensor:
    """RGB (B, 3, H, W) by ImageNet's channel statistics of pixels in 0..1; values beyond 0..1 are not cut off."""
    mean = pictures.new_tensor(_IMAGENET_MEAN).view(1, 3, 1, 1)
    return (pictures - mean) / pictures.new_tensor(_IMAGENET_DEVIATION).view(1, 3, 1, 1)


def resized(pictures: Tensor, side_px: int) -> Tensor:
    """Pictures (B, 3, H, W) on a square of `side_px`: bicubic, antialiased where that makes them smaller."""
    if tuple(pictures.shape[-2:]) == (side_px, side_px):
        return pictures
    return functional.interpolate(pictures, (side_px, side_px), mode="bicubic", antialias=True)


class BuiltInStyleTower:
    """A fixed random network for machines without DINO: colours over a grid, and how strongly each texture answers.

    It tells pictures of plainly different look apart, and no more; hence `stand_in`.
    """

    name = "built-in-style-tower-1"
    stand_in = True
    side_px = 64
    _filters = (16, 32, 64)
    _grid = 4

    def __init__(self, device: torch.device | str = "cpu") -> None:
        kernels = _fixed_kernels("built-in-style-tower", self._filters)
        self.digest = _digest(kernels)
        self._kernels = [kernel.to(device) for kernel in kernels]

    def vectors(self, pictures: Tensor) -> Tensor:
        """RGB (B, 3, H, W), 0..1 → (B, 272)."""
        maps = standardised(resized(pictures, self.side_px))
        parts = [functional.adaptive_avg_pool2d(maps, self._grid).flatten(1)]
        for kernel in self._kernels:
            maps = functional.conv2d(functional.pad(maps, (1, 1, 1, 1), mode="reflect"), kernel).abs()
            # the deviation's slope has no end where all pixels are equal, so a little variance is added
            parts += [maps.mean(dim=(2, 3)), (maps.var(dim=(2, 3)) + 1e-4).sqrt()]
            maps = functional.avg_pool2d(maps, 2)
        vectors = torch.cat(parts, dim=1)
        # as transformers' tokens are: bounded, so that guidance by them cannot run away however far a picture strays
        return functional.layer_norm(vectors, vectors.shape[1:])


class BuiltInTextureTower:
    """Two fixed random layers at full and half size, for machines without VGG-19; hence `stand_in`."""

    name = "built-in-texture-tower-1"
    stand_in = True
    _filters = (16, 32)

    def __init__(self, device: torch.device | str = "cpu") -> None:
        kernels = _fixed_kernels("built-in-texture-tower", self._filters)
        self.digest = _digest(kernels)
        self._kernels = [kernel.to(device) for kernel in kernels]

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """RGB (B, 3, H, W), 0..1 → (B, 16, H, W) and (B, 32, H/2, W/2)."""
        fine = functional.relu(functional.conv2d(standardised(pictures), self._kernels[0], padding=1))
        coarse = functional.relu(functional.conv2d(functional.max_pool2d(fine, 2), self._kernels[1], padding=1))
        return [fine, coarse]


def _fixed_kernels(purpose: str, filters: tuple[int, ...]) -> list[Tensor]:
    """3×3 kernels of each layer, drawn once and for all, scaled so that signals neither die nor explode (He et al.)."""
    kernels, channels = [], 3
    for layer, count in enumerate(filters):
        drawn = numpy_generator_for(0, purpose, layer).normal(size=(count, channels, 3, 3))
        kernels.append(torch.from_numpy((drawn * np.sqrt(2 / (9 * channels))).astype(np.float32)))
        channels = count
    return kernels


def _digest(kernels: list[Tensor]) -> str:
    return sha256(b"".join(kernel.numpy().tobytes() for kernel in kernels)).hexdigest()
