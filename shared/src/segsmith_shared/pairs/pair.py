"""A pair, the product's atom: an image and the label that says where its lesions are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ByteArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]


IGNORE = 255
"""Value of a class map where nothing is known: no loss, metric or judge counts these pixels."""

IGNORE_LEVEL = 128
"""Value of unknown pixels where a class is stored or seen by a network as 0 or 255: in between, −1..1 puts it at 0."""


@dataclass(frozen=True)
class Pair:
    """An image uint8 (H, W, 3) in RGB, its label and the name its publisher gave.

    The label is a class map uint8 (H, W): 0 is background, 1 … F are the classes (1 alone: lesion), `IGNORE` is
    unknown.

    Raises ValueError when the arrays do not fit each other: whoever builds a pair has checked before.
    """

    name: str
    image: ByteArray
    label: ByteArray

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(
                f"image of {self.name!r} must be uint8 (H, W, 3), is {self.image.dtype} {self.image.shape}"
            )
        if self.label.dtype != np.uint8 or self.label.shape != self.image.shape[:2]:
            raise ValueError(
                f"label of {self.name!r} must be uint8 {self.image.shape[:2]}, is {self.label.dtype} {self.label.shape}"
            )

    @property
    def lesions(self) -> BoolArray:
        """Where the label shows any class, bool (H, W)."""
        return np.asarray((self.label > 0) & (self.label != IGNORE))

    @property
    def lesion_fraction(self) -> float:
        """Share of pixels labelled lesion, of whichever class, 0..1."""
        return float(self.lesions.mean())
