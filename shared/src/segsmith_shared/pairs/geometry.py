"""How a picture of any size becomes a square for a model, and how what the model made finds its place back.

One geometry serves training and sampling (science §1: the authors' two cut 75 of 378 polyps). A `Placement` is plain
numbers, stored with the pair, so that every step can be inverted.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segsmith_shared.pairs.pair import IGNORE, IGNORE_LEVEL, BoolArray, ByteArray, Pair

Label = TypeVar("Label", BoolArray, ByteArray, NDArray[np.int32])
"""A label as lesion or not, as a class map, or as numbered lesions: all are resized alike."""


class Geometry(StrEnum):
    """What gives way when a picture is not square: margins are added, proportions change, or edges are lost."""

    LETTERBOX = "letterbox"
    SQUASH = "squash"
    CROP = "crop"


@dataclass(frozen=True)
class Rectangle:
    """Whole pixels: `left`, `top` inclusive, `right`, `bottom` exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width_px(self) -> int:
        return self.right - self.left

    @property
    def height_px(self) -> int:
        return self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True)
class Placement:
    """`seen` of a picture of `width_px` × `height_px` fills `filled` of a square of `side_px`."""

    geometry: Geometry
    side_px: int
    width_px: int
    height_px: int
    seen: Rectangle
    filled: Rectangle

    def as_document(self) -> dict[str, Any]:
        """Plain JSON values; `Placement.from_document` reads them back."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Placement":
        """The placement of a document that `as_document` wrote. Raises KeyError or TypeError on any other."""
        return cls(
            **document
            | {
                "geometry": Geometry(document["geometry"]),
                "seen": Rectangle(**document["seen"]),
                "filled": Rectangle(**document["filled"]),
            }
        )


def place(geometry: Geometry | str, width_px: int, height_px: int, side_px: int) -> Placement:
    """Where a picture of this size goes in a square of `side_px`. Raises ValueError on an unknown geometry."""
    geometry = Geometry(geometry)
    seen, filled = Rectangle(0, 0, width_px, height_px), Rectangle(0, 0, side_px, side_px)
    if geometry is Geometry.CROP:
        seen = _centred(min(width_px, height_px), min(width_px, height_px), width_px, height_px)
    elif geometry is Geometry.LETTERBOX:
        scale = side_px / max(width_px, height_px)
        filled = _centred(max(1, round(width_px * scale)), max(1, round(height_px * scale)), side_px, side_px)
    return Placement(geometry, side_px, width_px, height_px, seen, filled)


def _centred(width_px: int, height_px: int, within_width_px: int, within_height_px: int) -> Rectangle:
    left, top = (within_width_px - width_px) // 2, (within_height_px - height_px) // 2
    return Rectangle(left, top, left + width_px, top + height_px)


def image_to_square(image: ByteArray, placement: Placement) -> ByteArray:
    """An image uint8 (H, W, 3) as the model sees it, uint8 (side, side, 3): antialiased (Lanczos), margins black."""
    square = np.zeros((placement.side_px, placement.side_px, 3), np.uint8)
    square[placement.filled.slices] = _resized(image[placement.seen.slices], placement.filled, smooth=True)
    return square


def label_to_square(label: Label, placement: Placement) -> Label:
    """A label bool, uint8 or int32 (H, W) as the model sees it, (side, side) of the same kind.

    By nearest neighbour, so that it grows neither a soft edge nor a class between two others.
    """
    square = np.zeros((placement.side_px, placement.side_px), label.dtype)
    square[placement.filled.slices] = _resized(label[placement.seen.slices], placement.filled, smooth=False)
    return square


def image_from_square(square: ByteArray, placement: Placement, onto: ByteArray | None = None) -> ByteArray:
    """The model's image in the picture's own size, uint8 (H, W, 3).

    What a crop never saw is taken from `onto` (that size too, else ValueError), or is black without it.
    """
    shape = (placement.height_px, placement.width_px, 3)
    image = np.zeros(shape, np.uint8) if onto is None else onto.copy()
    if image.shape != shape:
        raise ValueError(f"onto must be {shape}, is {image.shape}")
    image[placement.seen.slices] = _resized(square[placement.filled.slices], placement.seen, smooth=True)
    return image


def label_from_square(square: Label, placement: Placement) -> Label:
    """The model's label in the picture's own size, (H, W); nothing is lesion where a crop never looked."""
    label = np.zeros((placement.height_px, placement.width_px), square.dtype)
    label[placement.seen.slices] = _resized(square[placement.filled.slices], placement.seen, smooth=False)
    return label


def to_model_arrays(
    pair: Pair, side_px: int, geometry: Geometry | str = Geometry.SQUASH, classes: int = 1
) -> ByteArray:
    """A pair as training data: uint8 (3 + classes, side, side), red, green, blue and each class as 0 or 255.

    Where nothing is known every label plane is 128.
    """
    placement = place(geometry, pair.image.shape[1], pair.image.shape[0], side_px)
    arrays = np.empty((3 + classes, side_px, side_px), np.uint8)
    arrays[:3] = image_to_square(pair.image, placement).transpose(2, 0, 1)
    label = label_to_square(pair.label, placement)
    for number, plane in enumerate(arrays[3:], start=1):
        plane[:] = (label == number) * np.uint8(255)
        plane[label == IGNORE] = IGNORE_LEVEL
    return arrays


def _resized(pixels: Any, target: Rectangle, *, smooth: bool) -> Any:
    size = (target.width_px, target.height_px)
    if pixels.shape[1::-1] == size:
        return pixels
    resampling = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, resampling))
