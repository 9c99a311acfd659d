"""The outline of a label along its pixels' edges, once for the page (SVG) and for the sheets (lines on an image)."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
Vertex = tuple[int, int]
Loop = list[Vertex]

# clockwise on the screen, x to the right and y down; the inside lies at the right hand
_RIGHT, _DOWN, _LEFT, _UP = (1, 0), (0, 1), (-1, 0), (0, -1)


def outline_loops(label_mask: BoolArray) -> list[Loop]:
    """Closed loops of (x, y) pixel corners around the true pixels of a bool (H, W); holes run anticlockwise.

    Lesions that touch at a corner alone get loops of their own.
    """
    following = _edges(label_mask)
    loops = []
    while following:
        start = next(iter(following))
        loops.append(_without_straights(_walk(following, start)))
    return loops


def svg_path(loops: list[Loop]) -> str:
    """The loops as the `d` of an SVG path in pixel units: only horizontal and vertical strokes, so it is short."""
    return "".join(_subpath(loop) for loop in loops)


def _edges(label_mask: BoolArray) -> dict[Vertex, list[Vertex]]:
    """Pixel edges between true and false, from corner to corner, with the true pixel at the right hand."""
    padded = np.pad(label_mask, 1)
    inside = padded[1:-1, 1:-1]
    neighbours = {
        # direction of the edge: (neighbour beyond it, its first corner within the pixel)
        _RIGHT: (padded[:-2, 1:-1], (0, 0)),
        _DOWN: (padded[1:-1, 2:], (1, 0)),
        _LEFT: (padded[2:, 1:-1], (1, 1)),
        _UP: (padded[1:-1, :-2], (0, 1)),
    }
    following: dict[Vertex, list[Vertex]] = defaultdict(list)
    for (dx, dy), (neighbour, (corner_x, corner_y)) in neighbours.items():
        for row, column in np.argwhere(inside & ~neighbour).tolist():
            x, y = column + corner_x, row + corner_y
            following[(x, y)].append((x + dx, y + dy))
    return following


def _walk(following: dict[Vertex, list[Vertex]], start: Vertex) -> Loop:
    """Follows the edges until they close, taking each one out."""
    loop = [start]
    while True:
        here = loop[-1]
        onward = _rightmost(following[here], loop)
        following[here].remove(onward)
        if not following[here]:
            del following[here]
        if onward == start:
            return loop
        loop.append(onward)


def _rightmost(candidates: list[Vertex], loop: Loop) -> Vertex:
    """Of two ways on from a shared corner the one that turns right, which stays with the same lesion."""
    if len(candidates) == 1 or len(loop) < 2:
        return candidates[0]
    (x0, y0), (x1, y1) = loop[-2], loop[-1]
    return max(candidates, key=lambda end: (x1 - x0) * (end[1] - y1) - (y1 - y0) * (end[0] - x1))


def _without_straights(loop: Loop) -> Loop:
    """Corners only: a vertex between two edges of one direction says nothing."""
    return [
        here
        for before, here, after in zip([loop[-1], *loop[:-1]], loop, [*loop[1:], loop[0]], strict=True)
        if (here[0] - before[0]) * (after[1] - here[1]) != (here[1] - before[1]) * (after[0] - here[0])
    ]


def _subpath(loop: Loop) -> str:
    strokes = [f"M{loop[0][0]} {loop[0][1]}"]
    for (x0, y0), (x1, y1) in pairwise(loop):
        strokes.append(f"h{x1 - x0}" if y0 == y1 else f"v{y1 - y0}")
    return "".join(strokes) + "z"
