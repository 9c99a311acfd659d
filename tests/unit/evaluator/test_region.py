"""Crops of the redrawn region hold it, square and inside the picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segsmith_evaluator.metrics.region import region_crops


@given(top=st.integers(0, 30), left=st.integers(0, 30), height=st.integers(1, 20), width=st.integers(1, 20))
def test_a_crop_holds_the_whole_region_and_little_else(top: int, left: int, height: int, width: int) -> None:
    region = np.zeros((1, 32, 32), dtype=bool)
    region[0, top : top + height, left : left + width] = True
    image = np.where(region[..., None], 200, 10).astype(np.uint8).repeat(3, axis=-1)
    side = int(max(region[0].any(axis=1).sum(), region[0].any(axis=0).sum()))
    crop = region_crops(image, region, side)[0]  # at its own size nothing is resampled
    assert (crop == 200).sum() / 3 == region.sum()


def test_pictures_without_a_region_are_left_out() -> None:
    regions = np.zeros((3, 16, 16), dtype=bool)
    regions[1, 4:8, 4:8] = True
    crops = region_crops(np.zeros((3, 16, 16, 3), dtype=np.uint8), regions, 8)
    assert crops.shape == (1, 8, 8, 3)
    assert region_crops(np.zeros((3, 16, 16, 3), dtype=np.uint8), regions & False, 8).shape == (0, 8, 8, 3)


def test_each_picture_needs_its_region() -> None:
    with pytest.raises(ValueError, match="zip"):
        region_crops(np.zeros((2, 8, 8, 3), dtype=np.uint8), np.ones((1, 8, 8), dtype=bool), 8)
