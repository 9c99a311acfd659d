"""The redrawn region alone: inpainting copies the background, so a whole-picture distance flatters every method."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Images = NDArray[np.uint8]
Regions = NDArray[np.bool_]


def region_crops(images: Images, regions: Regions, side_px: int) -> Images:
    """The square around each region of uint8 (n, H, W, 3), resized (bicubic, antialiased) to (k, side_px, side_px, 3).

    regions bool (n, H, W). Squares are moved inside the picture; pictures with an empty region are left out, so k ≤ n.
    """
    crops = [
        _resized(image[_square_around(region)], side_px)
        for image, region in zip(images, regions, strict=True)
        if region.any()
    ]
    return np.stack(crops) if crops else np.empty((0, side_px, side_px, 3), dtype=np.uint8)


def _square_around(region: Regions) -> tuple[slice, slice]:
    """Rows and columns of the smallest square (or, at a picture's full side, rectangle) that holds the region."""
    spans = [np.flatnonzero(region.any(axis=axis)) for axis in (1, 0)]
    side = max(int(span[-1] - span[0]) + 1 for span in spans)
    return _span(spans[0], side, region.shape[0]), _span(spans[1], side, region.shape[1])


def _span(places: NDArray[np.int64], side: int, limit: int) -> slice:
    length = min(side, limit)
    start = int(places[0] + places[-1] + 1 - length) // 2
    start = min(max(start, 0), limit - length)
    return slice(start, start + length)


def _resized(crop: Images, side_px: int) -> Images:
    return np.asarray(Image.fromarray(crop).resize((side_px, side_px), Image.Resampling.BICUBIC))
