"""Overlays and exchanged folders are recognised also where half of each picture is black, and soft labels are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from segsmith_shared.pairs.checking import CheckOptions, ImportReport, check_folder
from tests.fixtures.pair_folders import save

SIDE_PX, COUNT = 160, 3
ROWS, COLUMNS = np.mgrid[:SIDE_PX, :SIDE_PX]


def sector(index: int) -> np.ndarray:
    """Ultrasound: speckle within a sector, black outside of it, uint8 (H, W)."""
    rng = np.random.default_rng(index)
    inside = (np.abs(COLUMNS - SIDE_PX / 2) < ROWS * 0.45) & (np.hypot(COLUMNS - SIDE_PX / 2, ROWS) < 0.95 * SIDE_PX)
    speckle = np.clip(90 + 60 * rng.standard_normal(ROWS.shape), 0, 255).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(speckle).filter(ImageFilter.GaussianBlur(1)))
    return np.asarray(smooth * inside, np.uint8)


def cells(index: int) -> np.ndarray:
    """Fluorescence: a few noisy discs on black, uint8 (H, W)."""
    rng = np.random.default_rng(index)
    picture = np.zeros(ROWS.shape)
    for _ in range(6):
        down, across = rng.uniform(20, SIDE_PX - 20, 2)
        far = np.hypot(ROWS - down, COLUMNS - across)
        picture = np.maximum(picture, np.clip(16 - far, 0, 6) / 6 * rng.uniform(90, 220))
    return np.asarray(np.clip(picture + rng.normal(0, 10, ROWS.shape) * (picture > 0), 0, 255), np.uint8)


def lit(index: int) -> np.ndarray:
    """A grey photograph with sensor noise in a round field of view, uint8 (H, W)."""
    rng = np.random.default_rng(index)
    coarse = Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).resize(
        (SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC
    )
    noisy = np.clip(np.asarray(coarse, np.int16) + rng.integers(-8, 8, ROWS.shape), 1, 255)
    return np.asarray(noisy * (np.hypot(ROWS - 80, COLUMNS - 80) < 60), np.uint8)


def lesion(index: int) -> np.ndarray:
    return np.asarray(np.hypot(ROWS - 90 - 3 * index, COLUMNS - 78 - 2 * index) < 18)


def painted(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A translucent green lesion on a grey picture, uint8 (H, W, 3)."""
    colours = np.stack([picture] * 3, axis=-1).astype(np.float64)
    colours[inside] = colours[inside] / 2 + np.array([0, 127, 0])
    return colours.astype(np.uint8)


def checked(root: Path) -> tuple[ImportReport, set[str]]:
    report = check_folder(root, CheckOptions(), workers=1)
    return report, {finding.code for finding in report.findings}


@pytest.mark.parametrize("picture", [sector, cells, lit])
def test_an_overlay_on_a_picture_that_is_half_black_is_refused_as_a_picture(
    tmp_path: Path, picture: Callable[[int], np.ndarray]
) -> None:
    for index in range(COUNT):
        save(tmp_path / "images" / f"p{index}.png", Image.fromarray(picture(index)))
        save(tmp_path / "masks" / f"p{index}.png", Image.fromarray(painted(picture(index), lesion(index))))
    report, codes = checked(tmp_path)
    assert report.accepted == 0
    assert {"label-looks-like-picture", "labels-look-like-pictures"} <= codes


@pytest.mark.parametrize("picture", [sector, cells, lit])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_exchanged_folders_of_pictures_that_are_half_black_are_called_exchanged(
    tmp_path: Path, picture: Callable[[int], np.ndarray], ending: str
) -> None:
    for index in range(COUNT):
        save(tmp_path / "masks" / f"p{index}.{ending}", Image.fromarray(picture(index)))
        save(tmp_path / "images" / f"p{index}.png", Image.fromarray(lesion(index) * np.uint8(255)))
    report, codes = checked(tmp_path)
    assert report.accepted == 0
    assert "images-and-labels-swapped" in codes


def vessels(index: int) -> Image.Image:
    rng = np.random.default_rng(index)
    drawn = Image.new("L", (4 * SIDE_PX, 4 * SIDE_PX))
    for _ in range(12):
        points = [(int(x), int(y)) for x, y in rng.integers(0, 4 * SIDE_PX, (3, 2))]
        ImageDraw.Draw(drawn).line(points, fill=255, width=int(rng.integers(4, 14)))
    return drawn.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)


def blurred(index: int) -> Image.Image:
    return Image.fromarray(lesion(index) * np.uint8(255)).filter(ImageFilter.GaussianBlur(3))


@pytest.mark.parametrize("label", [vessels, blurred])
def test_thin_or_soft_lesions_on_black_do_not_look_like_pictures(
    tmp_path: Path, label: Callable[[int], Image.Image]
) -> None:
    for index in range(COUNT):
        save(tmp_path / "images" / f"p{index}.png", Image.fromarray(lit(index) + np.uint8(1)))
        save(tmp_path / "masks" / f"p{index}.png", label(index))
    report, codes = checked(tmp_path)
    assert report.accepted == COUNT
    assert "label-looks-like-picture" not in codes
