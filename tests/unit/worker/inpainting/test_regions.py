"""Regions and labels: what is redrawn, and what a cleaned label may lose."""

import math
from collections import Counter
from dataclasses import dataclass

import cv2
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


def ragged(side_px: int, radius_px: float) -> BoolArray:
    """A disc with a ragged edge, on which every size of kernel leaves another label."""
    noise = np.random.default_rng(3).normal(size=(side_px, side_px))
    return disc(side_px, radius_px) & ((noise < 1.3) | disc(side_px, 0.6 * radius_px))


def cv2_opened(label: BoolArray, kernel_px: int) -> BoolArray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel_px, kernel_px))
    opened: BoolArray = cv2.morphologyEx(label.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0
    return opened


@pytest.mark.parametrize(
    ("side_px", "radius_px", "kernel_px"),
    [
        (256, 60, 15),  # what the preset wants
        (256, 27, 13),  # a quarter of the lesion's diameter, the odd number below
        (256, 15, 7),
        (128, 60, 7),  # 7.5 scaled
        (64, 25, 3),  # 3.75 scaled
        (32, 12, 3),  # 1.9 scaled: the smallest kernel that opens anything
    ],
)
def test_the_kernel_is_the_wanted_one_or_a_quarter_of_the_lesion(side_px: int, radius_px: int, kernel_px: int) -> None:
    label = ragged(side_px, radius_px)
    opened = opened_label(label, CORRECTED)
    assert (opened == cv2_opened(label, kernel_px)).all()
    assert (opened != label).any()
    if kernel_px > 3:
        assert (opened != cv2_opened(label, kernel_px - 2)).any()


@pytest.mark.parametrize("side_px", [128, 256])
def test_the_authors_kernel_is_one_size_whatever_the_lesion(side_px: int) -> None:
    label = ragged(side_px, side_px / 6)
    assert (opened_label(label, AUTHORS) == cv2_opened(label, side_px // 16)).all()


def test_no_opening_and_one_of_a_pixel_leave_and_clean_the_label() -> None:
    label = ragged(256, 40)
    for spec in (AUTHORS, CORRECTED):
        assert (opened_label(label, spec.model_copy(update={"opening_px": 0})) == label).all()
    assert (opened_label(label, CORRECTED.model_copy(update={"opening_px": 1})) == cv2_opened(label, 3)).all()
    assert (opened_label(label, AUTHORS.model_copy(update={"opening_px": 1})) == label).all()
    assert (opened_label(label, AUTHORS.model_copy(update={"opening_px": 2})) == cv2_opened(label, 2)).all()


@pytest.mark.parametrize(
    ("side_px", "speck_px", "stays"), [(256, 6, False), (256, 7, True), (64, 2, False), (64, 3, True)]
)
def test_a_second_lesion_is_a_speck_below_half_the_wanted_kernel(side_px: int, speck_px: int, stays: bool) -> None:
    """7.5 px at 256; 3 px, the smallest kernel, at 64: the diameter of a disc of its area, here 1.13 times the side."""
    large = disc(side_px, side_px / 6)
    second = np.zeros_like(large)
    second[2 : 2 + speck_px, 2 : 2 + speck_px] = True
    assert opened_label(large | second, CORRECTED)[second].any() == stays


@pytest.mark.parametrize(("side_px", "wide_px"), [(256, 2), (256, 5), (64, 1)])
def test_a_lesion_thinner_than_its_kernel_stays_as_it_is(side_px: int, wide_px: int) -> None:
    line = np.zeros((side_px, side_px), dtype=bool)
    line[side_px // 2 : side_px // 2 + wide_px, side_px // 5 : -side_px // 5] = True
    large = disc(side_px, side_px / 8, row=side_px // 5)
    assert (opened_label(line, CORRECTED) == line).all()
    assert opened_label(line | large, CORRECTED)[line].all()


def test_the_largest_lesion_stays_however_small_it_is() -> None:
    label = np.zeros((256, 256), dtype=bool)
    label[10:14, 10:14] = label[100:103, 100:103] = True
    opened = opened_label(label, CORRECTED)
    assert opened[10:14, 10:14].all()
    assert opened.sum() == 16


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


@dataclass(frozen=True)
class Ellipse:
    """What the moments of a region say of it: centre (row, column), covariance, area in pixels."""

    centre: NDArray[np.float64]
    covariance: NDArray[np.float64]
    area_px: float

    @classmethod
    def of(cls, region: BoolArray) -> "Ellipse":
        inside = np.argwhere(region).astype(float)
        return cls(inside.mean(0), np.cov(inside, rowvar=False), len(inside))

    def farthest(self, label: BoolArray) -> float:
        """The elliptical distance of the label's farthest pixel: 1 on the edge of the region."""
        away = np.argwhere(label) - self.centre
        return float(np.sqrt((away @ np.linalg.inv(self.covariance) * away).sum(1).max() / 4))


def ellipses(label: BoolArray, count: int) -> list[Ellipse]:
    stack = np.stack([label] * count)
    spec = shares(region_ellipse_share=1.0)
    return [Ellipse.of(region) for region in training_regions(stack, spec, seed=1, positions=range(count))]


def test_covering_ellipses_lie_around_the_lesion_and_not_on_its_middle() -> None:
    found = ellipses(disc(256, 25, 120, 130), 300)
    offsets = np.array([each.centre for each in found]) - (120, 130)
    assert np.abs(offsets.mean(0)).max() < 2
    assert offsets.std(0) == pytest.approx([0.04 * 256] * 2, rel=0.12)


def test_covering_ellipses_are_up_to_two_fifths_larger_than_they_need_be() -> None:
    label = disc(256, 25)
    reached = np.array([each.farthest(label) for each in ellipses(label, 300)])
    assert reached.max() == pytest.approx(1 / 1.02, abs=0.015)
    assert reached.min() == pytest.approx(1 / 1.4, abs=0.015)
    assert reached.mean() == pytest.approx(math.log(1.4 / 1.02) / 0.38, abs=0.015)


def test_covering_ellipses_are_stretched_by_up_to_seven_tenths_in_every_direction() -> None:
    values, vectors = np.linalg.eigh([each.covariance for each in ellipses(disc(256, 25), 400)])
    stretch = np.sqrt(values[:, 1] / values[:, 0])
    assert (stretch.min(), stretch.max()) == pytest.approx((1.0, 1.7), abs=0.03)
    assert stretch.mean() == pytest.approx(1.35, abs=0.04)
    angles = np.arctan2(vectors[:, 0, 1], vectors[:, 1, 1])[stretch > 1.1]
    assert abs(np.exp(2j * angles).mean()) < 0.12


def test_without_a_lesion_the_ellipse_lies_anywhere_but_at_the_edge_and_is_mostly_of_the_least_size() -> None:
    found = ellipses(np.zeros((256, 256), dtype=bool), 300)
    centres = np.array([each.centre for each in found])
    assert centres.mean(0) == pytest.approx([128, 128], abs=8)
    assert centres.std(0) == pytest.approx([256 * math.hypot(0.6 / math.sqrt(12), 0.04)] * 2, rel=0.1)
    areas = np.array([each.area_px for each in found])
    least = math.pi * (0.08 * 256) ** 2
    assert areas.min() > 0.97 * least
    assert 0.5 < (areas < 1.03 * least).mean() < 0.95


def test_regions_come_in_the_shares_that_are_asked_for() -> None:
    label = np.zeros((128, 128), dtype=bool)
    label[50:80, 40:75] = True
    asked = {"region_full_share": 0.3, "region_background_share": 0.2, "region_ellipse_share": 0.15}
    regions = training_regions(np.stack([label] * 600), shares(**asked), seed=1, positions=range(600))

    def kind(region: BoolArray) -> str:
        if region.all():
            return "full"
        if not (region & label).any():
            return "background"
        return "dilated" if len(set(reach_px(label, region))) == 1 else "ellipse"

    counts = Counter(map(kind, regions))
    expected = {"full": 0.3, "background": 0.2, "ellipse": 0.15, "dilated": 0.35}
    assert {kind: counts[kind] / 600 for kind in expected} == pytest.approx(expected, abs=0.05)


def test_dilated_regions_reach_every_distance_of_their_range_at_any_side() -> None:
    for side_px in (128, 256):
        label = disc(side_px, 6)
        spec = shares(region_dilation_px_low=10, region_dilation_px_high=40)
        regions = training_regions(np.stack([label] * 300), spec, seed=1, positions=range(300))
        margins = np.array([reach_px(label, region)[0] for region in regions]) * 256 / side_px
        assert 8 <= margins.min() <= 11
        assert 38 <= margins.max() <= 40
        assert margins.mean() == pytest.approx(24.5, abs=1.5)


def test_the_background_region_keeps_its_distance_from_the_lesion() -> None:
    label = disc(256, 10)
    spec = shares(region_background_share=1.0, region_dilation_px_low=20, region_dilation_px_high=20)
    (region,) = training_regions(label[None], spec, seed=1, positions=[0])
    assert set(reach_px(label, ~region)) == {20}
    (everything,) = training_regions(np.zeros((1, 64, 64), dtype=bool), spec, seed=1, positions=[0])
    assert everything.all()


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
