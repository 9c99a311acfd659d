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
from segsmith_evaluator.metrics.figures import Figure, OnCount, quantile_bounds, share_figure
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
from segsmith_evaluator.metrics.real_halves import SMALLEST_HALF, divisions
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
    the training pictures that the limits flag against the others. `nearest_features` (n,): the place of the
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
    seed: int = 0,
    on_step: OnStage | None = None,
) -> CopyCheck:
    """Compare n samples with the m training pictures that they may have been copied from.

    `sources` (n,): the place of each sample's source among the training pictures, −1 for none. `groups`: training
    pictures of one number show the same thing and calibrate nothing against each other. The limits come from the
    training pictures alone, each against the others: other datasets say nothing about how alike these are. `seed`
    divides them into the halves that AuthPct is measured on. `on_step(stage, done, total)`
    returning True raises Interrupted. Raises ValueError without a sample or under two training pictures.
    """
    if not 0 < len(samples.images) == len(samples.regions) == len(sources) or len(training.images) < 2:
        raise ValueError("there must be samples, each with a region and a source, and two training pictures")
    known = _Known(brightness(training.images), on_step)
    others = _others(len(training.images), groups)
    real = known.best(training, "training pictures", others, others)
    limits = Limits(threshold_of(real.whole.likeness), threshold_of(real.region_likeness))
    related = ~others | (real.whole_matches.likeness > limits.whole.value)
    own = related[sources] & (sources >= 0)[:, None]
    best = known.best(samples, "samples", ~own)
    whole_copies, region_copies = best.flagged(limits)
    authentic_whole, authentic_region, nearest_features = _authenticity(
        samples, training, _Halving(groups, seed), extractor, on_step
    )
    return CopyCheck(
        whole=best.whole,
        region=best.region,
        limits=limits,
        whole_copies=whole_copies,
        region_copies=region_copies,
        of_own_source=region_copies & own[np.arange(len(own)), best.region.place],
        regions_compared=int(best.comparable.sum()),
        false_alarms=share_figure(np.logical_or(*real.flagged(limits))),
        authentic=authentic_whole,
        authentic_region=authentic_region,
        nearest_features=nearest_features,
    )


def threshold_of(training: Likeness) -> Threshold:
    """From each training picture's likeness with the other most like it, (n,), where n may be 0; within both limits."""
    quantile = quantile_above(training) if len(training) else None
    value = min(max(LIKENESS_FLOOR, quantile or 0.0), LIKENESS_CAP)
    return Threshold(value=value, training_quantile=quantile, n_training=len(training))


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
    halving: "_Halving",
    extractor: FeatureExtractor,
    on_step: OnStage | None,
) -> tuple[Authenticity, Authenticity | None, Places]:
    """AuthPct of whole pictures and of region crops; each sample's nearest training region, −1 where it has none."""
    parts = {"synthetic": samples, "real": training}

    def features(what: str, images: Images, of: str) -> Features:
        return extractor.features(images, _stage(on_step, f"features of {what} {of}"))

    whole, _ = _auth_pct({what: features(what, part.images, "pictures") for what, part in parts.items()}, halving)
    crops = {what: region_crops(part.images, part.regions, CROP_SIDE_PX) for what, part in parts.items()}
    nearest = np.full(len(samples.images), -1)
    if not len(crops["synthetic"]) or len(crops["real"]) < 2:
        return whole, None, nearest
    with_region = np.flatnonzero(_has_region(training))
    region, place = _auth_pct(
        {what: features(what, crop, "regions") for what, crop in crops.items()}, halving.of(with_region)
    )
    nearest[_has_region(samples)] = with_region[place]
    return whole, region, nearest


@dataclass(frozen=True)
class _Halving:
    """How the training pictures are divided into halves: their groups stay together."""

    groups: Sequence[int | None] | None
    seed: int

    def of(self, places: Places) -> "_Halving":
        """The same for some of the pictures."""
        groups = None if self.groups is None else [self.groups[place] for place in places]
        return _Halving(groups, self.seed)


def _auth_pct(features: dict[str, Features], halving: _Halving) -> tuple[Authenticity, Places]:
    flags, place = authentic(features["synthetic"], features["real"])
    yardstick = _auth_pct_of_halves(features["real"], halving)
    return Authenticity(samples=share_figure(flags), real_halves=yardstick), place


def _auth_pct_of_halves(real: Features, halving: _Halving) -> Figure | None:
    """The share of one half of the training pictures that is authentic beside the other half, over many divisions."""
    shares, sizes = [], []
    for first, second, _ in divisions(len(real), len(real), halving.groups, halving.seed):
        if len(second) < SMALLEST_HALF:
            return None
        shares.append(authentic(real[first], real[second])[0].mean())
        sizes.append(len(first))
    low, high = quantile_bounds(np.array(shares))
    return Figure(value=float(np.mean(shares)), low=low, high=high, n=min(sizes))


def _has_region(pictures: Pictures) -> Flags:
    return np.asarray(pictures.regions.any(axis=(1, 2)))


def _stage(on_step: OnStage | None, stage: str) -> OnCount | None:
    return None if on_step is None else lambda done, total: on_step(stage, done, total)
