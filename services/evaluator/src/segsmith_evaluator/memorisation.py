"""Did the model draw anew, or give back what it was trained on? (science §6)

An inpainted sample shares everything outside its region with its source by construction, so two questions are asked.
Region: does the redrawn part show what a training picture shows there, its own source included? Whole: does the picture
resemble a training picture other than its source, and other than those that resembled the source before?
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segsmith_evaluator.metrics.authenticity import authentic
from segsmith_evaluator.metrics.copies import Authenticity, Comparison, Threshold
from segsmith_evaluator.metrics.figures import Figure, OnCount, share_figure
from segsmith_evaluator.metrics.likeness import (
    Brightness,
    Matches,
    Nearest,
    brightness,
    comparable,
    compared_regions,
    match,
    nearest_of,
    structures,
)
from segsmith_evaluator.metrics.region import region_crops
from segsmith_evaluator.metrics.region_likeness import nearest_by_region
from segsmith_shared.vision.features import FeatureExtractor, Features

Images = NDArray[np.uint8]
Regions = NDArray[np.bool_]
Flags = NDArray[np.bool_]
Places = NDArray[np.int64]
Likeness = NDArray[np.float32]
OnStage = Callable[[str, int, int], bool | None]

FALSE_ALARM_SHARE = 0.02
"""Of real pictures, in each of two comparisons: together under 5 %, with room for the chance of a small set."""
LIKENESS_FLOOR = 0.75
"""Of real polyps at 64 px 98 % are less like any other, by region too, and a JPEG copy of them is above .88."""
LIKENESS_CAP = 0.9
"""Training pictures that repeat each other would raise the threshold until no copy was found: it ends here."""
CROP_SIDE_PX = 128


@dataclass(frozen=True)
class Pictures:
    """Square images uint8 (n, H, H, 3), and what was, or of real ones would be, redrawn of each: bool (n, H, H)."""

    images: Images
    regions: Regions


@dataclass(frozen=True)
class Limits:
    """From which likeness on a picture is called a near-copy, whole and by region."""

    whole: Threshold
    region: Threshold


@dataclass(frozen=True)
class CopyCheck:
    """What was found of n samples; flags are bool (n,).

    `of_own_source`: the region shows again what its source, or a picture like its source, shows there. `false_alarms`:
    the real pictures that the limits flag, held-out ones where there are any. `nearest_features` (n,): the place of the
    training picture with the nearest region in feature space, −1 for a sample without a region.
    """

    whole: Nearest
    region: Nearest
    limits: Limits
    whole_copies: Flags
    region_copies: Flags
    of_own_source: Flags
    regions_compared: int
    false_alarms: Figure
    authentic: Authenticity
    authentic_region: Authenticity | None
    nearest_features: Places

    @property
    def near_copies(self) -> Flags:
        return np.asarray(self.whole_copies | self.region_copies)

    def deciding(self, sample: int) -> tuple[Comparison, Nearest, Threshold]:
        """The comparison in which a sample rises furthest above its limit, or comes nearest to it."""
        whole_excess = self.whole.likeness[sample] - self.limits.whole.value
        if whole_excess > self.region.likeness[sample] - self.limits.region.value:
            return "whole", self.whole, self.limits.whole
        return "region", self.region, self.limits.region

    def in_order(self) -> list[int]:
        """Samples by how far they rise above their limit, the closest first."""
        excess = np.maximum(
            self.whole.likeness - self.limits.whole.value, self.region.likeness - self.limits.region.value
        )
        return [int(place) for place in np.argsort(-excess, kind="stable")]


def check_copies(
    samples: Pictures,
    sources: Places,
    training: Pictures,
    extractor: FeatureExtractor,
    *,
    groups: Sequence[int | None] | None = None,
    held_out: Pictures | None = None,
    on_step: OnStage | None = None,
) -> CopyCheck:
    """Compare n samples with the m training pictures that they may have been copied from.

    `sources` (n,): the place of each sample's source among the training pictures, −1 for none. `groups`: training
    pictures of one number show the same thing and calibrate nothing against each other. The limits come from real
    pictures: each training one against the others, each held-out one against all. `on_step(stage, done, total)`
    returning True raises Interrupted. Raises ValueError without a sample or under two training pictures.
    """
    if not 0 < len(samples.images) == len(samples.regions) == len(sources) or len(training.images) < 2:
        raise ValueError("there must be samples, each with a region and a source, and two training pictures")
    known = _Known(brightness(training.images), on_step)
    others = _others(len(training.images), groups)
    real, further = known.best(training, "training pictures", others, others), None
    if held_out is not None and len(held_out.images):
        further = known.best(held_out, "held-out pictures")
    limits = Limits(
        threshold_of(real.whole.likeness, further.whole.likeness if further else None),
        threshold_of(real.region_likeness, further.region_likeness if further else None),
    )
    related = ~others | (real.whole_matches.likeness > limits.whole.value)
    own = related[sources] & (sources >= 0)[:, None]
    best = known.best(samples, "samples", ~own)
    whole_copies, region_copies = best.flagged(limits)
    authentic_whole, authentic_region, nearest_features = _authenticity(samples, training, held_out, extractor, on_step)
    return CopyCheck(
        whole=best.whole,
        region=best.region,
        limits=limits,
        whole_copies=whole_copies,
        region_copies=region_copies,
        of_own_source=region_copies & own[np.arange(len(own)), best.region.place],
        regions_compared=int(best.comparable.sum()),
        false_alarms=share_figure(np.logical_or(*(further or real).flagged(limits))),
        authentic=authentic_whole,
        authentic_region=authentic_region,
        nearest_features=nearest_features,
    )


def threshold_of(training: Likeness, held_out: Likeness | None = None) -> Threshold:
    """From each real picture's likeness with the training picture most like it, (n,), where n may be 0.

    The higher of both quantiles, within floor and cap.
    """
    quantiles = [None if each is None or not len(each) else quantile_above(each) for each in (training, held_out)]
    highest = max(LIKENESS_FLOOR, *(0.0 if quantile is None else quantile for quantile in quantiles))
    return Threshold(
        value=min(highest, LIKENESS_CAP),
        training_quantile=quantiles[0],
        n_training=len(training),
        held_out_quantile=quantiles[1],
        n_held_out=0 if held_out is None else len(held_out),
    )


def quantile_above(likeness: Likeness, share: float = FALSE_ALARM_SHARE) -> float:
    """What one more picture of the same kind exceeds with at most this probability; the largest where n is too small.

    The ⌈(n + 1)(1 − share)⌉-th smallest of (n,), n ≥ 1: split conformal prediction (Papadopoulos et al., 2002).
    """
    place = min(math.ceil((len(likeness) + 1) * (1 - share)), len(likeness))
    return float(np.sort(likeness)[place - 1])


@dataclass(frozen=True)
class _Best:
    """The most alike training picture of each picture, whole and by region, and which regions could be compared."""

    whole_matches: Matches
    whole: Nearest
    region: Nearest
    comparable: Flags

    @property
    def region_likeness(self) -> Likeness:
        """Of the regions that could be compared alone."""
        return self.region.likeness[self.comparable]

    def flagged(self, limits: Limits) -> tuple[Flags, Flags]:
        """Which are too like a training picture: whole, and by region."""
        return self.whole.likeness > limits.whole.value, self.region.likeness > limits.region.value


@dataclass(frozen=True)
class _Known:
    """The training pictures (m, s, s), with which everything is compared."""

    bright: Brightness
    on_step: OnStage | None

    def best(
        self, pictures: Pictures, what: str, whole_with: Flags | None = None, region_with: Flags | None = None
    ) -> _Best:
        """Of the training pictures that each may be compared with, bool (n, m); of all unless given."""
        bright, regions = brightness(pictures.images), compared_regions(pictures.regions)
        matches = match(structures(bright), structures(self.bright), on_step=_stage(self.on_step, f"{what}, whole"))
        on_region = _stage(self.on_step, f"{what}, region")
        return _Best(
            matches,
            nearest_of(matches, whole_with),
            nearest_by_region(bright, regions, self.bright, region_with, on_step=on_region),
            comparable(regions),
        )


def _others(count: int, groups: Sequence[int | None] | None) -> Flags:
    """Which training pictures say something about each other: (m, m), false for itself and its near-duplicates."""
    others = ~np.eye(count, dtype=np.bool_)
    if groups is not None:
        numbers = np.array([-1 if group is None else group for group in groups])
        others &= (numbers[:, None] != numbers) | (numbers < 0)
    return others


def _authenticity(
    samples: Pictures,
    training: Pictures,
    held_out: Pictures | None,
    extractor: FeatureExtractor,
    on_step: OnStage | None,
) -> tuple[Authenticity, Authenticity | None, Places]:
    """AuthPct of whole pictures and of region crops; each sample's nearest training region, −1 where it has none."""
    named = {"synthetic": samples, "real": training, "held-out": held_out}
    parts = {what: part for what, part in named.items() if part is not None and len(part.images)}

    def features(what: str, images: Images, of: str) -> Features:
        return extractor.features(images, _stage(on_step, f"features of {what} {of}"))

    whole, _ = _auth_pct({what: features(what, part.images, "pictures") for what, part in parts.items()})
    crops = {what: region_crops(part.images, part.regions, CROP_SIDE_PX) for what, part in parts.items()}
    nearest = np.full(len(samples.images), -1)
    if not len(crops["synthetic"]) or len(crops["real"]) < 2:
        return whole, None, nearest
    region, place = _auth_pct({what: features(what, crop, "regions") for what, crop in crops.items() if len(crop)})
    nearest[_has_region(samples)] = np.flatnonzero(_has_region(training))[place]
    return whole, region, nearest


def _auth_pct(features: dict[str, Features]) -> tuple[Authenticity, Places]:
    flags, place = authentic(features["synthetic"], features["real"])
    held_out = features.get("held-out")
    yardstick = None if held_out is None else share_figure(authentic(held_out, features["real"])[0])
    return Authenticity(samples=share_figure(flags), held_out=yardstick), place


def _has_region(pictures: Pictures) -> Flags:
    return np.asarray(pictures.regions.any(axis=(1, 2)))


def _stage(on_step: OnStage | None, stage: str) -> OnCount | None:
    return None if on_step is None else lambda done, total: on_step(stage, done, total)
