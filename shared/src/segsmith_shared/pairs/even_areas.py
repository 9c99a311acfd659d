"""Even areas of a label file: which there are, and whether the foreground consists of them, as a picture's does not."""

import numpy as np

from segsmith_shared.pairs.pair import BoolArray, ByteArray

_EDGE_PX = 4  # a soft or compressed edge is no deeper
_FEWEST_INSIDE_PX = 64
_INSIDE_SHARE = 0.1  # fewer pixels away from edges say nothing: thin structures


def even_areas(levels: ByteArray, most_apart: int) -> BoolArray:
    """Where 3 × 3 px differ by at most so many levels, (H, W)."""
    return np.asarray(around(levels, np.maximum) - around(levels, np.minimum) <= most_apart)


def around(levels: ByteArray, kind: np.ufunc) -> ByteArray:
    """The least or greatest of 3 × 3 px, (H, W); ten times as fast as Pillow's rank filters."""
    padded = np.pad(levels, 1, mode="edge")
    down = kind(kind(padded[:-2], padded[1:-1]), padded[2:])
    across: ByteArray = kind(kind(down[:, :-2], down[:, 1:-1]), down[:, 2:])
    return across


def within(flags: BoolArray, distance_px: int) -> BoolArray:
    """Where all pixels up to this distance are set, (H, W)."""
    inside = flags.astype(np.uint8)
    for _ in range(distance_px):
        inside = around(inside, np.minimum)
    return inside > 0


def even_share_inside(even: BoolArray, foreground: BoolArray) -> float:
    """Which share of the foreground is even, away from its edges; 1 where there is too little to say.

    Pictures may be half black, so that the evenness of the whole says nothing: lesions are even, tissue is not.
    """
    inside = within(foreground, _EDGE_PX)
    inside_px = int(inside.sum())
    if inside_px < max(_FEWEST_INSIDE_PX, _INSIDE_SHARE * foreground.sum()):
        return 1.0
    return float(even[inside].mean())
