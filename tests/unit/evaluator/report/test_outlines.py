"""Outlines enclose exactly the label's pixels, whatever its shape."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from segsmith_evaluator.report.outlines import Loop, outline_loops, svg_path

masks = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def filled(loops: list[Loop], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels inside by the even-odd rule: every vertical stroke turns over what lies to its right."""
    inside = np.zeros(shape, dtype=bool)
    for loop in loops:
        for (x0, y0), (x1, y1) in zip(loop, [*loop[1:], loop[0]], strict=True):
            if x0 == x1:
                inside[min(y0, y1) : max(y0, y1), x0:] ^= True
    return inside


@given(masks)
@settings(max_examples=200, deadline=None)
def test_filling_the_outline_gives_the_label_back(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(filled(outline_loops(mask), mask.shape), mask)


@given(masks)
@settings(max_examples=100, deadline=None)
def test_an_outline_turns_at_every_corner_and_closes(mask: NDArray[np.bool_]) -> None:
    for loop in outline_loops(mask):
        strokes = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(loop, [*loop[1:], loop[0]], strict=True)]
        assert all((dx == 0) != (dy == 0) for dx, dy in strokes)
        assert all((a[0] == 0) != (b[0] == 0) for a, b in zip(strokes, [*strokes[1:], strokes[0]], strict=True))


def test_lesions_that_touch_at_a_corner_get_loops_of_their_own() -> None:
    assert len(outline_loops(np.eye(3, dtype=bool))) == 3


def test_a_ring_has_an_outer_and_an_inner_loop() -> None:
    ring = np.ones((5, 5), dtype=bool)
    ring[2, 2] = False
    assert len(outline_loops(ring)) == 2


def test_one_pixel_becomes_a_square_of_four_strokes() -> None:
    assert svg_path(outline_loops(np.array([[False, True]]))) == "M1 0h1v1h-1z"


def test_an_empty_label_has_no_outline() -> None:
    assert svg_path(outline_loops(np.zeros((4, 4), dtype=bool))) == ""
