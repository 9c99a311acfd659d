"""Every intrinsic figure of one synthetic set against real pairs, in one value that JSON can hold (science §6)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from segsmith_evaluator.metrics.copies import Memorisation
from segsmith_evaluator.metrics.fid import fid, fid_figure, fid_figure_of_all, rank_note
from segsmith_evaluator.metrics.figures import Figure, OnCount
from segsmith_evaluator.metrics.kid import MINIMUM_IMAGES, kid, kid_figure
from segsmith_evaluator.metrics.moments import Moments
from segsmith_evaluator.metrics.ms_ssim import ENLARGED_SIDE_PX, ms_ssim_figure
from segsmith_evaluator.metrics.real_halves import REPEATS, Distance, MatchedFigures, matched_figures
from segsmith_evaluator.metrics.region import region_crops
from segsmith_shared.problems import InvalidInput
from segsmith_shared.randomness import seed_for
from segsmith_shared.vision.features import FeatureExtractor, Features

Images = NDArray[np.uint8]
Regions = NDArray[np.bool_]
Groups = Sequence[int | None] | None
OnStage = Callable[[str, int, int], bool | None]


class SetTooSmall(InvalidInput):
    """Distances between sets need a few images on each side."""

    title = "Too few images to evaluate"


class MetricOptions(BaseModel):
    """How exactly to measure; `ms_ssim_pairs` None takes all pairs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ms_ssim_pairs: int | None = 2000
    bootstrap_samples: int = 200
    kid_subsets: int = 100
    region_side_px: int = 128


class SetMetrics(BaseModel):
    """The figures of one synthetic set. `stand_in`: the features compare with no published figure.

    `real_halves_*` is the distance between random halves of the real pictures, `matched_*` that of as many synthetic
    ones from the same halves (metrics.real_halves). `memorisation` is the copy check, which the evaluate job adds; None
    where it was not made.
    """

    # documents of earlier versions hold figures that are not made any more
    model_config = ConfigDict(frozen=True, extra="ignore")

    extractor: str
    extractor_digest: str
    stand_in: bool
    n_real: int
    n_synthetic: int
    fid: Figure
    kid: Figure
    ms_ssim_real: Figure
    ms_ssim_synthetic: Figure
    region_fid: Figure | None = None
    region_kid: Figure | None = None
    real_halves_fid: Figure | None = None
    matched_fid: Figure | None = None
    real_halves_kid: Figure | None = None
    matched_kid: Figure | None = None
    memorisation: Memorisation | None = None
    notes: list[str]


@dataclass(frozen=True)
class WholeSets:
    """The moments of the features of all pictures of both sides, and of their redrawn regions where there are any."""

    real: Moments
    synthetic: Moments
    real_regions: Moments | None = None
    synthetic_regions: Moments | None = None


@dataclass(frozen=True)
class _Measuring:
    """What every stage needs; progress goes out under the stage's name."""

    extractor: FeatureExtractor
    seed: int
    options: MetricOptions
    on_stage: OnStage | None

    def progress(self, stage: str) -> OnCount | None:
        if self.on_stage is None:
            return None
        on_stage = self.on_stage
        return lambda done, total: on_stage(stage, done, total)

    def features(self, images: Images, what: str) -> Features:
        return self.extractor.features(images, self.progress(f"features of {what}"))

    def fid(self, first: Features, second: Features, what: str) -> Figure:
        return fid_figure(
            first,
            second,
            seed=seed_for(self.seed, what),
            samples=self.options.bootstrap_samples,
            on_step=self.progress(what),
        )

    def kid(self, first: Features, second: Features, what: str) -> Figure:
        return kid_figure(
            first, second, seed=seed_for(self.seed, what), subsets=self.options.kid_subsets, on_step=self.progress(what)
        )

    def matched(
        self, real: Features, synthetic: Features, distance: Distance, groups: Groups, what: str
    ) -> MatchedFigures | None:
        return matched_figures(
            real,
            synthetic,
            distance,
            groups=groups,
            seed=seed_for(self.seed, "real halves"),
            on_step=self.progress(f"{what} of halves"),
        )

    def ms_ssim(self, images: Images, what: str) -> Figure:
        return ms_ssim_figure(
            images, seed=seed_for(self.seed, what), pairs=self.options.ms_ssim_pairs, on_step=self.progress(what)
        )


def evaluate_set(
    real: Images,
    synthetic: Images,
    extractor: FeatureExtractor,
    *,
    seed: int,
    real_regions: Regions | None = None,
    synthetic_regions: Regions | None = None,
    groups: Groups = None,
    options: MetricOptions | None = None,
    on_step: OnStage | None = None,
) -> SetMetrics:
    """FID, KID, MS-SSIM of uint8 (n, H, W, 3) against (m, H, W, 3), and FID and KID of the redrawn regions.

    FID and KID are also measured between halves of the real pictures, and of as many synthetic ones from these; real
    pictures of one of `groups` stay in one half. Regions are bool (n, H, W) and (m, H, W), for the real pictures what
    would be redrawn of them. `on_step(stage, done, total)` returning True raises Interrupted. Raises SetTooSmall under
    four pictures on a side.
    """
    _check_size(real, synthetic)
    measuring = _Measuring(extractor, seed, options or MetricOptions(), on_step)
    real_features = measuring.features(real, "real pictures")
    synthetic_features = measuring.features(synthetic, "synthetic pictures")
    by_fid = measuring.matched(real_features, synthetic_features, fid, groups, "FID")
    by_kid = measuring.matched(real_features, synthetic_features, kid, groups, "KID")
    region_fid, region_kid, region_notes = _region(measuring, real, real_regions, synthetic, synthetic_regions)
    metrics = SetMetrics(
        extractor=extractor.name,
        extractor_digest=extractor.digest,
        stand_in=extractor.stand_in,
        n_real=len(real),
        n_synthetic=len(synthetic),
        fid=measuring.fid(real_features, synthetic_features, "FID"),
        kid=measuring.kid(real_features, synthetic_features, "KID"),
        ms_ssim_real=measuring.ms_ssim(real, "MS-SSIM of real pictures"),
        ms_ssim_synthetic=measuring.ms_ssim(synthetic, "MS-SSIM of synthetic pictures"),
        region_fid=region_fid,
        region_kid=region_kid,
        real_halves_fid=by_fid.real if by_fid else None,
        matched_fid=by_fid.synthetic if by_fid else None,
        real_halves_kid=by_kid.real if by_kid else None,
        matched_kid=by_kid.synthetic if by_kid else None,
        notes=[],
    )
    return metrics.model_copy(update={"notes": [*_notes(metrics, extractor), *region_notes]})


def of_all_pictures(drawn: SetMetrics, whole: WholeSets) -> SetMetrics:
    """The metrics of sets of which `drawn` holds those of some pictures: FID of all, the rest as it was measured."""
    dimension, n = len(whole.real.mean), min(whole.real.count, whole.synthetic.count)
    note = (
        f"FID is of all {whole.real.count:,} real and {whole.synthetic.count:,} synthetic pictures. What compares "
        "pictures with each other (KID, MS-SSIM, the halves of real pictures, the spread of FID, the copy check) is of "
        f"{drawn.n_real:,} and {drawn.n_synthetic:,} of them, drawn by the seed."
    )
    of_drawn = rank_note(min(drawn.n_real, drawn.n_synthetic), dimension)
    notes = [note, rank_note(n, dimension), *(each for each in drawn.notes if each != of_drawn)]
    return drawn.model_copy(
        update={
            "n_real": whole.real.count,
            "n_synthetic": whole.synthetic.count,
            "fid": fid_figure_of_all(drawn.fid, whole.real, whole.synthetic),
            "region_fid": _region_fid_of_all(drawn.region_fid, whole),
            "notes": [each for each in notes if each],
        }
    )


def _region_fid_of_all(drawn: Figure | None, whole: WholeSets) -> Figure | None:
    if drawn is None or whole.real_regions is None or whole.synthetic_regions is None:
        return drawn
    return fid_figure_of_all(drawn, whole.real_regions, whole.synthetic_regions)


def _check_size(real: Images, synthetic: Images) -> None:
    smallest = min(len(real), len(synthetic))
    if smallest < MINIMUM_IMAGES:
        raise SetTooSmall(
            f"There are {len(real)} real and {len(synthetic)} synthetic pictures; each side needs {MINIMUM_IMAGES}.",
            hint="Generate more samples, or look at why so many were rejected.",
        )


def _region(
    measuring: _Measuring,
    real: Images,
    real_regions: Regions | None,
    synthetic: Images,
    synthetic_regions: Regions | None,
) -> tuple[Figure | None, Figure | None, list[str]]:
    if real_regions is None or synthetic_regions is None:
        return None, None, []
    side_px = measuring.options.region_side_px
    crops = region_crops(real, real_regions, side_px), region_crops(synthetic, synthetic_regions, side_px)
    if min(map(len, crops)) < MINIMUM_IMAGES:
        return None, None, ["Too few pictures have a redrawn region to measure it alone."]
    first, second = (
        measuring.features(each, f"{what} regions") for each, what in zip(crops, ("real", "synthetic"), strict=True)
    )
    return measuring.fid(first, second, "FID of the region"), measuring.kid(first, second, "KID of the region"), []


def _notes(metrics: SetMetrics, extractor: FeatureExtractor) -> list[str]:
    notes = [rank_note(min(metrics.n_real, metrics.n_synthetic), extractor.dimension)]
    if metrics.real_halves_fid is not None:
        notes.append(
            f"Between halves: {metrics.real_halves_fid.n} real pictures against {metrics.real_halves_fid.n} others of "
            f"the same training set, and as many synthetic ones against the same, over {REPEATS} random divisions. "
            "Both are at this n, so they compare with each other and not with the figures at full n."
        )
    if metrics.stand_in:
        notes.append(
            f"Features come from the stand-in {extractor.name!r}, not from FID-Inception: FID and KID compare sets "
            "of this installation with each other, and with nothing published."
        )
    enlarged_from_px = metrics.ms_ssim_synthetic.detail.get("enlarged_from_px")
    if enlarged_from_px is not None:
        notes.append(
            f"MS-SSIM needs sides over 160 px: all pictures of {enlarged_from_px} px were first enlarged to "
            f"{ENLARGED_SIDE_PX} px (bicubic), real and synthetic alike."
        )
    return [note for note in notes if note]
