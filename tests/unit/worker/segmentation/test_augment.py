"""Augmentation repeats by position, keeps label and image together, and asks no network."""

import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from segsmith_shared.pairs.drawn import draw_pair, recover_lesion
from segsmith_worker.segmentation.augment import Augmentation, Image, Label


def drawn(index: int, side_px: int) -> tuple[Image, Label]:
    image, label = draw_pair(0, index, side_px)
    return image, label.astype(np.uint8)


def test_the_same_position_gives_the_same_picture_whatever_came_before() -> None:
    image, label = drawn(0, 48)
    fresh, used = Augmentation(), Augmentation()
    for position in range(5):
        used(image, label, 7, position)
    for first, second in zip(fresh(image, label, 7, 123), used(image, label, 7, 123), strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(fresh(image, label, 7, 124)[0], fresh(image, label, 7, 123)[0])
    assert not np.array_equal(fresh(image, label, 8, 123)[0], fresh(image, label, 7, 123)[0])


def test_the_label_moves_with_the_image() -> None:
    augmentation, overlaps = Augmentation(), []
    for position in range(40):
        image, label = augmentation(*drawn(position, 64), 0, position)
        assert image.dtype == np.uint8
        assert label.dtype == np.uint8
        assert image.shape == (*label.shape, 3) == (64, 64, 3)
        overlaps.append(dice(recover_lesion(image), label > 0))
    assert np.median(overlaps) > 0.85


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(2 * (first & second).sum() / max(1, first.sum() + second.sum()))


def test_flips_shifts_and_scales_happen_as_often_and_as_far_as_the_paper_says() -> None:
    """A small square off the centre: its side shows the scale (.5 to 1.5), its place the flip (half of the time)."""
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    label = np.zeros((64, 64), dtype=np.uint8)
    label[28:36, 18:26] = 1
    augmentation = Augmentation()
    labels = [augmentation(image, label, 0, position)[1] for position in range(400)]
    sides = np.sqrt([drawn.sum() for drawn in labels]) / 8
    columns = np.array([np.nonzero(drawn)[1].mean() for drawn in labels])
    assert 0.45 <= sides.min() < 0.6
    assert 1.4 < sides.max() <= 1.55
    assert 0.4 < (columns > 31.5).mean() < 0.6


def test_importing_it_asks_no_network_for_a_newer_version() -> None:
    program = "import segsmith_worker.segmentation.augment, os; print(os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert finished.stdout.strip() == "1"
