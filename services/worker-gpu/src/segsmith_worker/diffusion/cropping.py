"""Random crops while training: a part of a picture, as large as the whole again, that holds some of its lesion."""

import torch
from torch import Tensor
from torch.nn import functional

from segsmith_shared.plans.presets import TrainingSpec
from segsmith_shared.randomness import numpy_generator_for


def cropped(pair: Tensor, spec: TrainingSpec, seed: int, position: int) -> Tensor:
    """The pair uint8 (4, H, W), or in `crop_share` of the cases a square part of it, as large again.

    A function of (seed, position). The part holds a lesion pixel drawn at random, so that no crop is without; where the
    pair has none, it lies anywhere. Images are resampled bilinearly, labels cut at one half.
    """
    if not spec.crop_share:
        return pair
    rng = numpy_generator_for(seed, "crop", position)
    if rng.random() >= spec.crop_share:
        return pair
    side_px = pair.shape[-1]
    part_px = max(2, round(side_px * rng.uniform(spec.crop_side_low, 1)))
    lesion = torch.nonzero(pair[3] >= 128)
    held = lesion[rng.integers(len(lesion))].tolist() if len(lesion) else rng.integers(side_px, size=2).tolist()
    top, left = (_start(at, part_px, side_px, rng.random()) for at in held)
    part = pair[None, :, top : top + part_px, left : left + part_px].float()
    resized = functional.interpolate(part, (side_px, side_px), mode="bilinear", antialias=True)[0].round()
    label = (resized[3:] >= 128) * 255.0
    return torch.cat([resized[:3].clamp(0, 255), label]).to(torch.uint8)


def _start(held: int, part_px: int, side_px: int, share: float) -> int:
    """Where a part of this length begins, that holds the pixel `held` and ends within the picture."""
    first, last = max(0, held - part_px + 1), min(held, side_px - part_px)
    return first + int(share * (last - first + 1))
