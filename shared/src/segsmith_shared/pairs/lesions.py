"""Lesions as things, not pixels: connected parts of a label."""

import numpy as np
from PIL import Image

from segsmith_shared.pairs.geometry import Geometry, label_to_square, place
from segsmith_shared.pairs.pair import IGNORE, BoolArray, ByteArray

# Thresholding a JPEG label leaves specks of some pixels. On the 348 pairs of the paper any bound from 5 to 50 px
# finds the same 20 pictures with more than one polyp; without a bound it would be 61.
SPECK_FRACTION = 5e-5


def class_numbers(label: BoolArray | ByteArray) -> list[int]:
    """The classes 1 … F that a label bool or uint8 (H, W) shows; of bool 1."""
    counts = Image.fromarray(label.astype(np.uint8, copy=False)).histogram()
    return [number for number in range(1, IGNORE) if counts[number]]


def count_lesions(label: BoolArray | ByteArray) -> tuple[int, int]:
    """How many lesions a label bool (H, W) or class map uint8 (H, W) shows, and the largest one's pixels.

    Parts of one class that touch, also diagonally, are one lesion; specks under 5e-5 of the picture count only where
    all are specks. What is unknown (`IGNORE`) is no lesion.
    """
    from scipy import ndimage  # here: half a second that a command line need not wait for

    sizes: list[int] = []
    for number in class_numbers(label):
        parts, _ = ndimage.label(_bounded(label == number), np.ones((3, 3), np.int8))
        sizes += np.bincount(parts.ravel())[1:].tolist()
    if not sizes:
        return 0, 0
    return max(1, sum(size >= SPECK_FRACTION * label.size for size in sizes)), max(sizes)


def _bounded(area: BoolArray) -> BoolArray:
    """The smallest rectangle that holds an area bool (H, W) of at least one pixel."""
    rows, columns = (np.flatnonzero(area.any(axis=axis)) for axis in (1, 0))
    return area[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def lesions_that_vanish(label: ByteArray, side_px: int, geometry: Geometry | str = Geometry.SQUASH) -> int:
    """How many lesions of a class map uint8 (H, W) have no pixel left in a model's square of `side_px`.

    Specks do not count, as in `count_lesions`.
    """
    from scipy import ndimage

    placement = place(geometry, label.shape[1], label.shape[0], side_px)
    vanished = 0
    for number in class_numbers(label):
        parts, _ = ndimage.label(label == number, np.ones((3, 3), np.int8))
        sizes = np.bincount(parts.ravel())[1:]
        counted = sizes >= min(SPECK_FRACTION * label.size, sizes.max())
        left = np.zeros(len(sizes) + 1, np.bool_)
        left[np.unique(label_to_square(parts, placement))] = True
        vanished += int((counted & ~left[1:]).sum())
    return vanished
