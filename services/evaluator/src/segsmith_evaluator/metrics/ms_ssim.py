"""How alike the pictures of one set are: multi-scale structural similarity of its pairs. Lower = more diverse."""

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim as multi_scale_ssim
from scipy.stats import bootstrap
from torch import Tensor
from torch.nn import functional

from segsmith_evaluator.metrics.figures import CONFIDENCE, Figure, OnCount
from segsmith_shared.randomness import numpy_generator_for
from segsmith_shared.vision.features import Interrupted

Images = NDArray[np.uint8]
Places = NDArray[np.int64]
Similarities = NDArray[np.float64]

# Five scales of an 11 px window need more than 160 px; smaller pictures are enlarged and the figure says so.
SMALLEST_SIDE_PX = 161
ENLARGED_SIDE_PX = 256
_PAIRS_AT_ONCE = 8
_IMAGE_RESAMPLES = 1000


def ms_ssim_figure(images: Images, *, seed: int, pairs: int | None = 2000, on_step: OnCount | None = None) -> Figure:
    """Mean MS-SSIM (Wang et al. 2003) over `pairs` seeded pairs of uint8 (n, H, W, 3), or all where None or too few.

    `detail["standard_error"]` is that of the sampled mean against the mean of all pairs, zero where all were taken; the
    interval says how much the figure would move with other images (bootstrap over images, as pairs share them).
    `on_step` counts pairs; returning True raises Interrupted. Raises ValueError under two images.
    """
    if len(images) < 2:
        raise ValueError("pairs within a set need two images")
    first, second = choose_pairs(len(images), pairs, seed)
    values = similarities(images, first, second, on_step)
    low, high = _interval_over_images(values, first, second, len(images), seed)
    detail: dict[str, float | int | str] = {
        "pairs": len(values),
        "standard_error": _standard_error(values, len(images)),
    }
    if _is_enlarged(images):
        detail |= {"enlarged_from_px": min(images.shape[1:3]), "enlarged_to_px": ENLARGED_SIDE_PX}
    return Figure(value=float(values.mean()), low=low, high=high, n=len(images), detail=detail)


def choose_pairs(count: int, pairs: int | None, seed: int) -> tuple[Places, Places]:
    """Places of the first and second image of each pair, no pair twice: a seeded sample, or all count·(count − 1)/2."""
    first, second = np.triu_indices(count, k=1)
    if pairs is None or pairs >= len(first):
        return first.astype(np.int64), second.astype(np.int64)
    taken = np.sort(numpy_generator_for(seed, "ms-ssim-pairs").choice(len(first), pairs, replace=False))
    return first[taken].astype(np.int64), second[taken].astype(np.int64)


@torch.inference_mode()
def similarities(images: Images, first: Places, second: Places, on_step: OnCount | None = None) -> Similarities:
    """MS-SSIM of each pair of places in uint8 (n, H, W, 3), 0…1: (pairs,)."""
    values = np.empty(len(first))
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        part = slice(start, min(start + _PAIRS_AT_ONCE, len(first)))
        left, right = (_prepared(images[places[part]]) for places in (first, second))
        values[part] = multi_scale_ssim(left, right, data_range=255, size_average=False).numpy()
        if on_step is not None and on_step(part.stop, len(first)):
            raise Interrupted
    return values


def _prepared(images: Images) -> Tensor:
    """Float (n, 3, H, W), channels last in memory: the grouped convolutions are four times as fast so."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    if not _is_enlarged(images):
        return pixels.contiguous(memory_format=torch.channels_last)
    scale = ENLARGED_SIDE_PX / min(images.shape[1:3])
    size = [round(side * scale) for side in images.shape[1:3]]
    enlarged = functional.interpolate(pixels, size, mode="bicubic").clamp(0, 255)
    return enlarged.contiguous(memory_format=torch.channels_last)


def _is_enlarged(images: Images) -> bool:
    return bool(min(images.shape[1:3]) < SMALLEST_SIDE_PX)


def _standard_error(values: Similarities, images: int) -> float:
    """Of the mean of a sample of pairs drawn without replacement from all pairs."""
    everything = images * (images - 1) // 2
    if len(values) < 2 or len(values) == everything:
        return 0.0
    return float(values.std(ddof=1) / np.sqrt(len(values)) * np.sqrt(1 - len(values) / everything))


def _interval_over_images(
    values: Similarities, first: Places, second: Places, images: int, seed: int
) -> tuple[float | None, float | None]:
    """Percentile bootstrap: an image drawn c times counts its pairs c times."""
    if images < 3 or np.ptp(values) == 0:
        return None, None

    def weighted_mean(drawn: Places) -> float:
        times = np.bincount(drawn, minlength=images)
        weights = times[first] * times[second]
        return float((weights * values).sum() / weights.sum()) if weights.any() else float(values.mean())

    found = bootstrap(
        (np.arange(images),),
        weighted_mean,
        vectorized=False,
        method="percentile",
        n_resamples=_IMAGE_RESAMPLES,
        confidence_level=CONFIDENCE,
        rng=numpy_generator_for(seed, "ms-ssim-bootstrap"),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
