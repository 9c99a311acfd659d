"""Stored pairs and samples leave the object store and become the arrays that the science works on."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Protocol

import numpy as np
from PIL import Image

from segsmith_shared.pairs.geometry import Geometry, to_model_arrays
from segsmith_shared.pairs.pair import IGNORE, IGNORE_LEVEL, BoolArray, ByteArray, Pair
from segsmith_shared.storage.objects import ObjectStore


class StoredPair(Protocol):
    """What a `Pair` row and a `Sample` row have in common."""

    image_digest: str
    label_digest: str


def read_image(png: bytes) -> ByteArray:
    """One of our own PNGs as uint8 (H, W, 3)."""
    return np.array(Image.open(BytesIO(png), formats=("PNG",)).convert("RGB"))  # a copy: torch wants it writable


def read_label(png: bytes, classes: int = 1) -> ByteArray:
    """One of our own label PNGs as a class map uint8 (H, W), 255 where nothing is known.

    Where there is one class 0, 128 (unknown) and 255 are stored.
    """
    values = _grey(png)
    if classes > 1:
        return values
    return np.where(values == IGNORE_LEVEL, np.uint8(IGNORE), (values >= 128).astype(np.uint8))


def read_region(png: bytes) -> BoolArray:
    """One of our own region PNGs as bool (H, W)."""
    return np.asarray(_grey(png) >= 128)


def _grey(png: bytes) -> ByteArray:
    return np.array(Image.open(BytesIO(png), formats=("PNG",)).convert("L"))


def read_pairs(objects: ObjectStore, stored: Sequence[StoredPair], classes: int = 1) -> Iterator[Pair]:
    """The pairs in their own sizes, in order, a few at a time in memory. Raises ObjectMissing, ObjectCorrupt."""
    contents = objects.get_many([digest for pair in stored for digest in (pair.image_digest, pair.label_digest)])
    for pair in stored:
        yield Pair(pair.image_digest, read_image(next(contents)), read_label(next(contents), classes))


def read_squares(
    objects: ObjectStore, stored: Sequence[StoredPair], side_px: int, geometry: str, classes: int = 1
) -> ByteArray:
    """uint8 (n, 3 + classes, side, side): red, green, blue and each class as 0 or 255; 128 where nothing is known."""
    squares = np.empty((len(stored), 3 + classes, side_px, side_px), np.uint8)
    for square, pair in zip(squares, read_pairs(objects, stored, classes), strict=True):
        square[:] = to_model_arrays(pair, side_px, Geometry(geometry), classes)
    return squares


def images_of(squares: ByteArray) -> ByteArray:
    """uint8 (n, 3 + classes, H, W) → the images uint8 (n, H, W, 3)."""
    return np.ascontiguousarray(squares[:, :3].transpose(0, 2, 3, 1))


def labels_of(squares: ByteArray) -> BoolArray:
    """uint8 (n, 3 + classes, H, W) → where any class is, bool (n, H, W)."""
    return np.asarray((squares[:, 3:] > IGNORE_LEVEL).any(axis=1))


def class_maps_of(squares: ByteArray) -> ByteArray:
    """uint8 (n, 3 + classes, H, W) → the labels as class maps uint8 (n, H, W), 0 on background, 255 unknown."""
    numbers = np.arange(1, squares.shape[1] - 2, dtype=np.uint8)[:, None, None]
    planes = squares[:, 3:]
    label = ((planes > IGNORE_LEVEL) * numbers).max(axis=1)
    return np.where((planes == IGNORE_LEVEL).all(axis=1), np.uint8(IGNORE), label)
