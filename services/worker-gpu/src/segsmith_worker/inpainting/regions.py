"""Where to redraw, and how a sampled mask channel becomes a label. Pixels are meant at 256 and scale with the side."""

import math
from collections.abc import Sequence
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segsmith_shared.pairs.pair import IGNORE
from segsmith_shared.plans.presets import REFERENCE_SIDE_PX, SamplingSpec, TrainingSpec
from segsmith_shared.randomness import numpy_generator_for

BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]

LEAST_KERNEL_PX = 3.0
"""The smallest kernel that opens anything."""


def scaled_px(at_reference_px: float, side_px: int) -> float:
    """A length meant at 256 px, at this side: 20 → 5 at 64 px."""
    return at_reference_px * side_px / REFERENCE_SIDE_PX


def redraw_regions(label_masks: BoolArray, spec: SamplingSpec) -> BoolArray:
    """Label masks (B, H, W) → what to redraw (B, H, W): the dilated lesion, all but it, or everything."""
    if spec.redraw == "full":
        return np.ones_like(label_masks)
    radius_px = round(scaled_px(spec.dilation_px, label_masks.shape[-1]))
    kernel = _ellipse(2 * radius_px + (spec.dilation_kernel == "odd"))
    dilated = np.stack([cv2.dilate(mask.astype(np.uint8), kernel) > 0 for mask in label_masks])
    return ~dilated if spec.redraw == "background" else dilated


def label_cores(class_map: ByteArray, share: float) -> BoolArray:
    """The innermost `share` of the depth of every lesion of a class map (H, W): none at 0, the whole lesions at 1.

    Depth is the distance to the edge of the lesion, or of its class where two touch; the picture's edge is none, so a
    lesion cut off by it stays deep there.
    """
    cores = np.zeros(class_map.shape, np.bool_)
    for number in _classes_in(class_map):
        cores |= _label_core(class_map == number, share)
    return cores


def _label_core(label_mask: BoolArray, share: float) -> BoolArray:
    core = np.zeros_like(label_mask)
    if share == 0:
        return core
    count, numbered = cv2.connectedComponents(label_mask.astype(np.uint8))
    for number in range(1, count):
        lesion = numbered == number
        beyond = np.pad(lesion.astype(np.uint8), 1, mode="edge")
        depth_px = cv2.distanceTransform(beyond, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        core |= lesion & (depth_px >= (1 - share) * depth_px[lesion].max())
    return core


class Opening(Protocol):
    """The two fields of any spec that say how a label is opened."""

    @property
    def opening_px(self) -> int: ...

    @property
    def opening_kernel(self) -> Literal["even", "odd"]: ...


def opened_label(label_mask: BoolArray, spec: Opening) -> BoolArray:
    """Morphological opening of one label (H, W) of one class.

    `even` (authors): one fixed kernel, which erases lesions smaller than it. `odd`: each connected lesion by itself,
    with a kernel of at most a quarter of its own equivalent diameter, so that a small lesion beside a large one is
    cleaned and not erased; one that is thinner than its kernel stays as it is. Specks of less than half the wanted
    kernel across are dropped, except the largest lesion.
    """
    if spec.opening_px == 0:
        return label_mask
    wanted_px = scaled_px(spec.opening_px, len(label_mask))
    if spec.opening_kernel == "even":
        return _opened(label_mask, round(wanted_px))
    return _opened_lesion_by_lesion(label_mask, wanted_px)


def _opened_lesion_by_lesion(label_mask: BoolArray, wanted_px: float) -> BoolArray:
    count, numbered, statistics, _ = cv2.connectedComponentsWithStats(label_mask.astype(np.uint8))
    if count == 1:
        return label_mask
    diameters_px = 2 * np.sqrt(statistics[1:, cv2.CC_STAT_AREA] / math.pi)
    largest = int(diameters_px.argmax())
    speck_px = max(LEAST_KERNEL_PX, wanted_px / 2)
    opened = np.zeros_like(label_mask)
    for place, diameter_px in enumerate(diameters_px.tolist()):
        if place != largest and diameter_px < speck_px:
            continue
        size_px = _largest_odd(min(max(LEAST_KERNEL_PX, wanted_px), diameter_px / 4))
        lesion = numbered == place + 1
        cleaned = _opened(lesion, size_px)
        opened |= cleaned if cleaned.any() else lesion  # a long thin one is wider by its area than it is
    return opened


def _opened(label_mask: BoolArray, size_px: int) -> BoolArray:
    if size_px < 2:
        return label_mask
    opened: BoolArray = cv2.morphologyEx(label_mask.astype(np.uint8), cv2.MORPH_OPEN, _ellipse(size_px)) > 0
    return opened


def opened_classes(class_map: ByteArray, spec: Opening) -> ByteArray:
    """A class map (H, W) with each class opened by itself; what an opening takes away becomes background."""
    opened = np.zeros_like(class_map)
    for number in _classes_in(class_map):
        opened[opened_label(class_map == number, spec)] = number
    return opened


def training_regions(label_masks: BoolArray, spec: TrainingSpec, seed: int, positions: Sequence[int]) -> BoolArray:
    """One varied region per image (B, H, W), drawn from (seed, position): else the label would be the eroded region.

    A covering ellipse, all but the dilated lesion, the whole picture, or the lesion dilated by a random distance.
    """
    pairs = zip(label_masks, positions, strict=True)
    return np.stack([_training_region(mask, spec, numpy_generator_for(seed, "region", at)) for mask, at in pairs])


def _training_region(label_mask: BoolArray, spec: TrainingSpec, rng: np.random.Generator) -> BoolArray:
    kind = rng.random()
    side_px = len(label_mask)
    distance_px = scaled_px(rng.uniform(spec.region_dilation_px_low, spec.region_dilation_px_high), side_px)
    if kind < spec.region_full_share:
        return np.ones_like(label_mask)
    if kind < spec.region_full_share + spec.region_background_share:
        return ~_within(label_mask, distance_px)
    share = spec.region_full_share + spec.region_background_share + spec.region_ellipse_share
    if kind < share or not label_mask.any():
        return _covering_ellipse(label_mask, rng)
    return _within(label_mask, distance_px)


def _within(label_mask: BoolArray, distance_px: float) -> BoolArray:
    """All pixels at most this far from the lesion; none where there is no lesion."""
    if not label_mask.any():
        return np.zeros_like(label_mask)
    outside = (~label_mask).astype(np.uint8)
    near: BoolArray = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= distance_px
    return near


def _covering_ellipse(label_mask: BoolArray, rng: np.random.Generator) -> BoolArray:
    """A random ellipse that holds every lesion pixel, or lies anywhere if there is none."""
    side_px = len(label_mask)
    rows, columns = np.nonzero(label_mask) if label_mask.any() else rng.uniform(0.2, 0.8, size=(2, 1)) * side_px
    centre = np.array([rows.mean(), columns.mean()]) + rng.normal(0, 0.04 * side_px, size=2)
    angle, stretch = rng.uniform(0, math.pi), math.sqrt(rng.uniform(1, 1.7))

    def distance_px(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        dy, dx = y - centre[0], x - centre[1]
        along = (dx * math.cos(angle) + dy * math.sin(angle)) / stretch
        aside = (dy * math.cos(angle) - dx * math.sin(angle)) * stretch
        reach: NDArray[np.float64] = np.hypot(along, aside)
        return reach

    y, x = np.mgrid[0:side_px, 0:side_px].astype(np.float64)
    needed_px = distance_px(rows.astype(np.float64), columns.astype(np.float64)).max()
    radius_px = max(needed_px * rng.uniform(1.02, 1.4), 0.08 * side_px)
    inside: BoolArray = distance_px(y, x) <= radius_px
    return inside


def _classes_in(class_map: ByteArray) -> list[int]:
    return [int(number) for number in np.unique(class_map) if number not in (0, IGNORE)]


def _ellipse(size_px: int) -> NDArray[np.uint8]:
    kernel: NDArray[np.uint8] = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(size_px, 1),) * 2).astype(np.uint8)
    return kernel


def _largest_odd(at_most: float) -> int:
    return max(1, 2 * math.floor((at_most + 1) / 2) - 1)
