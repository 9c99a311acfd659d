"""Random crops while training: a part of a picture, as large as the whole again, that holds some of its lesion."""

import torch
from torch import Tensor
from torch.nn import functional

from segsmith_shared.pairs.pair import IGNORE_LEVEL
from segsmith_shared.plans.presets import PICTURE_CHANNELS, TrainingSpec
from segsmith_shared.randomness import numpy_generator_for
from segsmith_worker.diffusion.labels import largest_class, lesions_of, planes_of, unknown_of


def cropped(pair: Tensor, spec: TrainingSpec, seed: int, position: int) -> Tensor:
    """The pair uint8 (3 + F, H, W), or in `crop_share` of the cases a square part of it, as large again.

    A function of (seed, position). The part holds a lesion pixel drawn at random, so that no crop is without; where the
    pair has none, it lies anywhere. Images are resampled bilinearly; a label's pixel is what most of it is, and
    unknown where half of it or more is.
    """
    if not spec.crop_share:
        return pair
    rng = numpy_generator_for(seed, "crop", position)
    if rng.random() >= spec.crop_share:
        return pair
    side_px = pair.shape[-1]
    part_px = max(2, round(side_px * rng.uniform(spec.crop_side_low, 1)))
    lesion = torch.nonzero(lesions_of(pair[None])[0])
    held = lesion[rng.integers(len(lesion))].tolist() if len(lesion) else rng.integers(side_px, size=2).tolist()
    top, left = (_start(at, part_px, side_px, rng.random()) for at in held)
    part = pair[None, :, top : top + part_px, left : left + part_px].float()
    resized = functional.interpolate(part, (side_px, side_px), mode="bilinear", antialias=True)[0].round()
    unknown = unknown_of(pair[None])[:, top : top + part_px, left : left + part_px].float()
    unknown_share = functional.interpolate(unknown[:, None], (side_px, side_px), mode="bilinear", antialias=True)[0, 0]
    shares = resized[None, PICTURE_CHANNELS:]
    label = planes_of(largest_class(shares, beyond=255 - shares.sum(dim=1)), shares.shape[1])[0] * 255
    label = label.to(torch.uint8).masked_fill(unknown_share >= 0.5, IGNORE_LEVEL)
    return torch.cat([resized[:PICTURE_CHANNELS].clamp(0, 255).to(torch.uint8), label])


def _start(held: int, part_px: int, side_px: int, share: float) -> int:
    """Where a part of this length begins, that holds the pixel `held` and ends within the picture."""
    first, last = max(0, held - part_px + 1), min(held, side_px - part_px)
    return first + int(share * (last - first + 1))
