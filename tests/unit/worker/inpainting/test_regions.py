"""Regions and labels: what is redrawn, and what a cleaned label may lose."""

import numpy as np
import pytest
from numpy.typing import NDArray

from segsmith_shared.pairs.pair import IGNORE
from segsmith_shared.plans.presets import SamplingSpec, TrainingSpec, preset_named
from segsmith_worker.inpainting.regions import (
    label_cores,
    opened_classes,
    opened_label,
    redraw_regions,
    training_regions,
)

BoolArray = NDArray[np.bool_]
CORRECTED = preset_named("paper-256-2023").sampling
AUTHORS = preset_named("paper-256-2023").with_overrides({"procedure": "authors"}).sampling
TRAINING = preset_named("small-64").training


def disc(side_px: int, radius_px: float, row: int | None = None, column: int | None = None) -> BoolArray:
    y, x = np.mgrid[0:side_px, 0:side_px]
    middle = side_px // 2
    inside: BoolArray = np.hypot(y - (row or middle), x - (column or middle)) <= radius_px
    return inside


def reach_px(label: BoolArray, region: BoolArray) -> tuple[int, int, int, int]:
    """How far the region goes beyond the label: up, down, left, right."""
    ends = [(np.flatnonzero(m.any(1)), np.flatnonzero(m.any(0))) for m in (label, region)]
    (rows, columns), (wide_rows, wide_columns) = ends
    return (
        rows[0] - wide_rows[0],
        wide_rows[-1] - rows[-1],
        columns[0] - wide_columns[0],
        wide_columns[-1] - columns[-1],
    )


@pytest.mark.parametrize(("side_px", "expected_px"), [(256, 20), (128, 10), (64, 5)])
def test_the_corrected_region_reaches_20_px_at_256_on_every_side(side_px: int, expected_px: int) -> None:
    label = disc(side_px, side_px / 12)
    assert set(reach_px(label, redraw_regions(label[None], CORRECTED)[0])) == {expected_px}


def test_the_authors_region_reaches_half_of_that_and_leans_to_one_side() -> None:
    label = disc(256, 20)
    assert sorted(set(reach_px(label, redraw_regions(label[None], AUTHORS)[0]))) == [9, 10]


def test_background_and_full_are_the_complement_and_everything() -> None:
    labels = np.stack([disc(64, 6), disc(64, 10)])
    lesion = redraw_regions(labels, CORRECTED)
    background = redraw_regions(labels, CORRECTED.model_copy(update={"redraw": "background"}))
    assert (background == ~lesion).all()
    assert not (background & labels).any()
    assert redraw_regions(labels, CORRECTED.model_copy(update={"redraw": "full"})).all()


def test_the_authors_opening_erases_small_lesions_and_the_corrected_one_does_not() -> None:
    small = disc(256, 6)
    assert not opened_label(small, AUTHORS).any()
    assert opened_label(small, CORRECTED).sum() > 0.85 * small.sum()


@pytest.mark.parametrize("side_px", [64, 128, 256])
@pytest.mark.parametrize("small_px_at_256", [10, 16, 24])
def test_a_small_lesion_beside_a_large_one_is_cleaned_and_not_erased(side_px: int, small_px_at_256: int) -> None:
    small_px = small_px_at_256 * side_px / 256
    large = disc(side_px, side_px / 5, row=side_px * 2 // 3, column=side_px * 2 // 3)
    small = disc(side_px, small_px, row=side_px // 6, column=side_px // 6)
    opened = opened_label(large | small, CORRECTED)
    assert (opened & small).sum() > 0.8 * small.sum()
    assert (opened & large).sum() > 0.95 * large.sum()
    assert not (opened & ~(large | small)).any()


def test_each_of_many_lesions_is_opened_as_if_it_were_alone() -> None:
    radii = (30, 12, 9)
    lesions = [disc(256, radius, row=50 + 75 * place, column=60 + 60 * place) for place, radius in enumerate(radii)]
    for lesion in lesions:
        spur = lesion.any(0).argmax()
        lesion[np.flatnonzero(lesion.any(1)).mean().astype(int), spur - 5 : spur] = True  # one pixel thin
    together = opened_label(np.logical_or.reduce(lesions), CORRECTED)
    alone = np.logical_or.reduce([opened_label(lesion, CORRECTED) for lesion in lesions])
    assert (together == alone).all()
    assert together.sum() < np.logical_or.reduce(lesions).sum()  # spurs are gone


def test_a_class_map_keeps_a_small_second_lesion_of_each_class() -> None:
    first, second = disc(128, 20, row=30, column=30), disc(128, 6, row=100, column=30)
    third = disc(128, 7, row=64, column=110)
    class_map = (first | second).astype(np.uint8) + 2 * third.astype(np.uint8)
    opened = opened_classes(class_map, CORRECTED)
    assert (opened[second] == 1).mean() > 0.8
    assert (opened[third] == 2).mean() > 0.8


def test_unknown_pixels_are_no_class_to_open_or_to_keep_a_core_of() -> None:
    class_map = disc(64, 10).astype(np.uint8)
    class_map[:4] = IGNORE
    assert not (opened_classes(class_map, CORRECTED) == IGNORE).any()
    assert not label_cores(class_map, 1.0)[:4].any()


@pytest.mark.parametrize("side_px", [48, 64, 128, 256])
def test_the_corrected_opening_removes_specks_and_keeps_the_lesion_in_place(side_px: int) -> None:
    lesion = disc(side_px, side_px / 6)
    speckled = lesion.copy()
    speckled[2, 2] = speckled[side_px - 3, 4] = True
    opened = opened_label(speckled, CORRECTED)
    assert not opened[2, 2]
    assert not opened[side_px - 3, 4]
    assert opened.sum() > 0.9 * lesion.sum()
    assert np.allclose(np.argwhere(opened).mean(0), np.argwhere(lesion).mean(0), atol=0.3)


@pytest.mark.parametrize("radius_px", range(1, 12))
def test_the_corrected_opening_never_erases_a_lesion(radius_px: int) -> None:
    for side_px in (64, 256):
        assert opened_label(disc(side_px, radius_px), CORRECTED).any()


def test_opening_an_empty_label_gives_an_empty_label() -> None:
    for spec in (AUTHORS, CORRECTED):
        assert not opened_label(np.zeros((64, 64), dtype=bool), spec).any()


def shares(**changed: float) -> TrainingSpec:
    none = {"region_ellipse_share": 0.0, "region_background_share": 0.0, "region_full_share": 0.0}
    return TRAINING.model_copy(update=none | changed)


def test_training_regions_cover_the_lesion_by_varied_margins() -> None:
    label = disc(64, 7)
    regions = training_regions(np.stack([label] * 40), shares(), seed=1, positions=range(40))
    assert (regions & label).sum() == 40 * label.sum()
    margins = [reach_px(label, region)[0] for region in regions]
    assert (min(margins), max(margins)) >= (2, 8)
    assert len(set(margins)) >= 5


def test_covering_ellipses_hold_every_lesion_and_do_not_trace_it() -> None:
    label = disc(64, 5, 20, 20) | disc(64, 4, 40, 44)
    regions = training_regions(np.stack([label] * 30), shares(region_ellipse_share=1.0), seed=1, positions=range(30))
    assert all(region[label].all() for region in regions)
    assert np.std([region.sum() for region in regions]) > 0.1 * label.sum()


def test_background_and_full_shares_are_what_they_say() -> None:
    label = disc(64, 7)
    stack = np.stack([label] * 10)
    background = training_regions(stack, shares(region_background_share=1.0), seed=1, positions=range(10))
    assert not (background & label).any()
    assert background.mean() > 0.5
    assert training_regions(stack, shares(region_full_share=1.0), seed=1, positions=range(10)).all()


def test_an_image_without_lesion_still_gets_a_region_to_learn_from() -> None:
    empty = np.zeros((20, 64, 64), dtype=bool)
    regions = training_regions(empty, TRAINING, seed=1, positions=range(20))
    assert regions.any(axis=(1, 2)).all()


def test_a_training_region_depends_on_its_position_only() -> None:
    labels = np.stack([disc(64, 7), disc(64, 9)])
    both = training_regions(labels, TRAINING, seed=1, positions=[5, 9])
    assert (training_regions(labels[1:], TRAINING, seed=1, positions=[9])[0] == both[1]).all()


def test_sampling_specs_of_all_presets_dilate_alike_at_their_own_side() -> None:
    """Lengths are meant at 256 px: whatever the preset, about a twelfth of the side."""
    for name in ("tiny-cpu", "small-64", "small-64-langevin", "medium-128", "paper-256-2024"):
        preset = preset_named(name)
        assert isinstance(preset.sampling, SamplingSpec)
        label = disc(preset.network.side_px, preset.network.side_px / 8)
        reach = reach_px(label, redraw_regions(label[None], preset.sampling)[0])
        assert np.allclose(np.array(reach) / preset.network.side_px, 20 / 256, atol=0.02)


def test_the_core_of_every_lesion_is_its_innermost_part_and_grows_with_its_share() -> None:
    label = (disc(64, 12, 20, 20) | disc(64, 5, 50, 50)).astype(np.uint8)
    cores = {share: label_cores(label, share) for share in (0.0, 0.3, 0.6, 1.0)}
    assert not cores[0.0].any()
    assert (cores[1.0] == (label > 0)).all()
    for smaller, larger in ((0.3, 0.6), (0.6, 1.0)):
        assert (cores[smaller] <= cores[larger]).all()
        assert cores[smaller].sum() < cores[larger].sum()
    for row, column in ((20, 20), (50, 50)):
        assert cores[0.3][row, column]


def test_a_lesion_cut_off_by_the_picture_is_deepest_where_it_is_cut() -> None:
    y, x = np.mgrid[0:64, 0:64]
    half: BoolArray = np.hypot(y - 32, x) <= 12
    core = label_cores(half.astype(np.uint8), 0.3)
    assert core[32, 0]
    assert not core[32, 9]


def test_each_class_is_opened_by_itself_and_a_bridge_between_two_becomes_background() -> None:
    class_map = np.zeros((64, 64), np.uint8)
    class_map[disc(64, 10, 32, 16)] = 1
    class_map[disc(64, 10, 32, 48)] = 2
    class_map[32, 26:38] = 1  # a thread of the first class up to the second
    opened = opened_classes(class_map, CORRECTED)
    assert not opened[32, 29:36].any()
    for number, column in ((1, 16), (2, 48)):
        assert (opened[disc(64, 7, 32, column)] == number).all()
    assert ((opened == 0) | (opened == class_map)).all()


def test_lesions_of_two_classes_that_touch_have_a_core_each() -> None:
    class_map = np.zeros((64, 64), np.uint8)
    class_map[16:48, 8:32], class_map[16:48, 32:56] = 1, 2
    core = label_cores(class_map, 0.3)
    assert core[32, 20]
    assert core[32, 44]
    assert not core[32, 30:34].any()
