"""What goes into a model's square comes back to where it was."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segsmith_shared.pairs.drawn import draw_pair
from segsmith_shared.pairs.geometry import (
    Geometry,
    Placement,
    image_from_square,
    image_to_square,
    label_from_square,
    label_to_square,
    place,
    to_model_arrays,
)
from segsmith_shared.pairs.lesions import lesions_that_vanish
from segsmith_shared.pairs.pair import Pair
from segsmith_shared.storage.pair_arrays import class_maps_of, labels_of

sizes = st.integers(1, 90)
geometries = st.sampled_from(list(Geometry))


def random_label(width_px: int, height_px: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((height_px, width_px)) < 0.4


@settings(deadline=None)
@given(geometries, sizes, sizes, st.integers(0, 1000))
def test_a_label_enlarged_to_the_square_comes_back_exactly_where_it_was_seen(
    geometry: Geometry, width_px: int, height_px: int, seed: int
) -> None:
    label = random_label(width_px, height_px, seed)
    placement = place(geometry, width_px, height_px, side_px=96)

    returned = label_from_square(label_to_square(label, placement), placement)

    seen = placement.seen.slices
    assert (returned[seen] == label[seen]).all()
    returned[seen] = False
    assert not returned.any()


@settings(deadline=None)
@given(geometries, sizes, sizes, st.integers(1, 64))
def test_every_geometry_gives_squares_and_gives_sizes_back(
    geometry: Geometry, width_px: int, height_px: int, side_px: int
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height_px, width_px, 3), np.uint8)
    label = random_label(width_px, height_px, 1)
    placement = place(geometry, width_px, height_px, side_px)

    arrays = to_model_arrays(Pair("x", image, label.astype(np.uint8)), side_px, geometry)

    assert arrays.shape == (4, side_px, side_px)
    assert set(np.unique(arrays[3])) <= {0, 255}
    assert image_from_square(image_to_square(image, placement), placement).shape == image.shape
    assert label_from_square(arrays[3] > 0, placement).shape == label.shape


@settings(deadline=None)
@given(geometries, sizes, sizes, sizes)
def test_a_placement_survives_json(geometry: Geometry, width_px: int, height_px: int, side_px: int) -> None:
    placement = place(geometry, width_px, height_px, side_px)
    assert Placement.from_document(json.loads(json.dumps(placement.as_document()))) == placement


def test_reducing_a_soft_label_does_not_grow_its_area() -> None:
    """The authors' interpolation then > 0 grows it by 4–8 %; nearest neighbour has no bias."""
    ratios = []
    for index in range(30):
        _, label = draw_pair(3, index, 192)
        ratios.append(label_to_square(label, place("squash", 192, 192, 61)).mean() / label.mean())
    assert np.mean(ratios) == pytest.approx(1, abs=0.004)


def test_a_letterbox_keeps_proportions_and_the_whole_picture() -> None:
    placement = place("letterbox", 640, 480, 64)
    assert (placement.filled.width_px, placement.filled.height_px) == (64, 48)
    square = image_to_square(np.full((480, 640, 3), 200, np.uint8), placement)
    assert (square[:8] == 0).all()
    assert (square[8:56] == 200).all()


def test_a_crop_keeps_the_middle_and_takes_the_rest_from_the_original() -> None:
    image = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
    placement = place("crop", 60, 40, 40)
    returned = image_from_square(image_to_square(image, placement), placement, onto=image)
    assert (returned == image).all()


def test_a_fine_pattern_is_averaged_and_not_sampled() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    square = image_to_square(stripes, place("squash", 256, 256, 32))
    assert abs(square[:, 2:-2].astype(int) - 128).max() < 12


def test_a_picture_of_another_size_than_the_placement_is_refused_as_background() -> None:
    placement = place("crop", 60, 40, 40)
    with pytest.raises(ValueError, match="onto must be"):
        image_from_square(np.zeros((40, 40, 3), np.uint8), placement, onto=np.zeros((40, 61, 3), np.uint8))


@settings(deadline=None)
@given(geometries, sizes, sizes, st.integers(1, 64))
def test_a_class_map_is_resized_like_each_of_its_classes(
    geometry: Geometry, width_px: int, height_px: int, side_px: int
) -> None:
    label = np.random.default_rng(4).integers(0, 4, (height_px, width_px), np.uint8)
    placement = place(geometry, width_px, height_px, side_px)
    square = label_to_square(label, placement)
    returned = label_from_square(square, placement)
    for number in (1, 2, 3):
        assert np.array_equal(square == number, label_to_square(label == number, placement))
        assert np.array_equal(returned == number, label_from_square(square == number, placement))


@settings(deadline=None)
@given(geometries, sizes, sizes, st.integers(1, 64))
def test_a_lesion_vanishes_exactly_where_the_square_shows_none_of_it(
    geometry: Geometry, width_px: int, height_px: int, side_px: int
) -> None:
    label = np.zeros((height_px, width_px), np.uint8)
    label[height_px // 3, width_px // 2] = 1
    gone = not label_to_square(label, place(geometry, width_px, height_px, side_px)).any()
    assert lesions_that_vanish(label, side_px, geometry) == gone


def test_a_model_sees_one_plane_for_each_class() -> None:
    label = np.array([[0, 1], [2, 3]], np.uint8)
    arrays = to_model_arrays(Pair("x", np.zeros((2, 2, 3), np.uint8), label), 2, classes=3)
    assert arrays[3:].tolist() == [[[0, 255], [0, 0]], [[0, 0], [255, 0]], [[0, 0], [0, 255]]]
    assert class_maps_of(arrays[None]).tolist() == [label.tolist()]
    assert labels_of(arrays[None]).tolist() == [[[False, True], [True, True]]]


def test_a_pair_of_unequal_sizes_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="label of 'x'"):
        Pair("x", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match="image of 'x'"):
        Pair("x", np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
